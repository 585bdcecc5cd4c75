"""Backward passes with a choice of rule at each layer: DeconvNet, guided backpropagation, the
gradient.
"""

from . import adjoint, relu_rules
from .network import BackwardNetwork, ForwardCache, cache_forward
from .relu_rules import RELU_RULES, ReluRule, relu_rule
from .rules import RULES, BackwardRule, get_rule

__all__ = [
    "RELU_RULES", "RULES", "BackwardNetwork", "BackwardRule", "ForwardCache", "ReluRule",
    "adjoint", "cache_forward", "get_rule", "relu_rule", "relu_rules",
]  # fmt: skip
