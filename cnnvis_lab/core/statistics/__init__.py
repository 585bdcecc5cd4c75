"""Statistics of activations in one streaming pass with bounded memory."""

from .co_activation import CoActivation
from .quantiles import Quantiles, flatten_positions
from .tally import Accumulator, FiringRate, TopK, tally

__all__ = [
    "Accumulator", "CoActivation", "FiringRate", "Quantiles", "TopK", "flatten_positions", "tally",
]  # fmt: skip
