"""The checks of the notebooks' exercises, one module a notebook, and the data some of them give."""

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
# Exercise -> function of (answer, what the exercise gives) that returns what is right about the
# answer, or raises `marking.NotYet`.
CHECKS = {name: check for module in _MODULES for name, check in module.CHECKS.items()}
# Exercise -> function that makes the numbers it is about.
GIVEN = {name: make for module in _MODULES for name, make in getattr(module, "GIVEN", {}).items()}
