"""The checks of the notebooks' exercises, one module per notebook, and data for some of them."""

from collections.abc import Callable

from . import (
    activation_maximization,
    deconvnet,
    deep_generator,
    dissection,
    inversion,
    net2vec,
    perturbation,
    start_here,
    training_evolution,
)

__all__ = ["CHECKS", "GIVEN"]

_MODULES = (
    start_here,
    activation_maximization,
    deep_generator,
    deconvnet,
    training_evolution,
    inversion,
    perturbation,
    dissection,
    net2vec,
)
# Exercise -> function of the answer and what the exercise gives; it returns a message for a correct
# answer, or raises `NotSolved`.
CHECKS: dict[str, Callable[..., str]] = {
    name: check for module in _MODULES for name, check in module.CHECKS.items()
}
# Exercise -> function that returns its data.
GIVEN: dict[str, Callable[[], tuple]] = {
    name: make for module in _MODULES for name, make in getattr(module, "GIVEN", {}).items()
}
