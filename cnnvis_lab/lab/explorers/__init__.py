"""Explorers: one interactive panel per method, and one for all methods."""

from .activation_maximization import ActivationMaximization
from .deconvnet import DeconvNet
from .deep_generator import DeepGenerator
from .dissection import Dissection
from .inversion import Inversion
from .net2vec import LearnedLayer, Net2Vec
from .perturbation import Perturbation
from .training_evolution import TrainingEvolution
from .unit_profile import UnitProfile

__all__ = [
    "ActivationMaximization", "DeconvNet", "DeepGenerator", "Dissection", "Inversion",
    "LearnedLayer", "Net2Vec", "Perturbation", "TrainingEvolution", "UnitProfile",
]  # fmt: skip
