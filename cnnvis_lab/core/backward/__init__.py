"""Backward passes with a choice of rules: DeconvNet, guided backpropagation, the gradient."""

from . import adjoint, relu_rules
from .forward import ForwardCache, cache_forward
from .network import BackwardNetwork
from .relu_rules import RELU_RULES, ReluRule, relu_rule
from .rules import RULES, BackwardRule
from .window import Window, find_window

__all__ = [
    "RELU_RULES", "RULES", "BackwardNetwork", "BackwardRule", "ForwardCache", "ReluRule", "Window",
    "adjoint", "cache_forward", "find_window", "relu_rule", "relu_rules",
]  # fmt: skip
