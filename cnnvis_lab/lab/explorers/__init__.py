"""The explorers: one panel for each of the survey's methods, and one for all of them."""

from .ascent import ActivationMaximization, DeepGenerator
from .concepts import Dissection, Learned, Net2Vec
from .inversion import Inversion, Perturbation
from .one_unit import OneUnit
from .projection import DeconvNet, Evolution

__all__ = [
    "ActivationMaximization",
    "DeconvNet",
    "DeepGenerator",
    "Dissection",
    "Evolution",
    "Inversion",
    "Learned",
    "Net2Vec",
    "OneUnit",
    "Perturbation",
]
