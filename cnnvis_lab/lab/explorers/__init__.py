"""Explorers: one interactive panel per method, and one for all methods.

Each is imported when it is first used, so that a notebook depends only on its own explorer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .activation_maximization import ActivationMaximization
    from .deconvnet import DeconvNet
    from .deep_generator import DeepGenerator
    from .dissection import Dissection
    from .inversion import Inversion
    from .net2vec import LearnedLayer, Net2Vec
    from .networks import adapt
    from .perturbation import Perturbation
    from .training_evolution import TrainingEvolution
    from .unit_profile import UnitProfile

__all__ = [
    "ActivationMaximization", "DeconvNet", "DeepGenerator", "Dissection", "Inversion",
    "LearnedLayer", "Net2Vec", "Perturbation", "TrainingEvolution", "UnitProfile", "adapt",
]  # fmt: skip

_MODULES = {
    "ActivationMaximization": "activation_maximization",
    "DeconvNet": "deconvnet",
    "DeepGenerator": "deep_generator",
    "Dissection": "dissection",
    "Inversion": "inversion",
    "LearnedLayer": "net2vec",
    "Net2Vec": "net2vec",
    "Perturbation": "perturbation",
    "TrainingEvolution": "training_evolution",
    "UnitProfile": "unit_profile",
    "adapt": "networks",
}


def __getattr__(name: str) -> object:
    """Import an explorer on first use."""
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
