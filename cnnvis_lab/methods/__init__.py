"""The survey's methods, one package per notebook; each is imported when it is first used."""

from importlib import import_module

__all__ = [
    "activation_maximization", "deconvnet", "deep_generator", "dissection", "evaluation",
    "inversion", "net2vec", "perturbation", "training_evolution", "unit_profile",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import a method's package on first use, so that a notebook loads only what it names."""
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
