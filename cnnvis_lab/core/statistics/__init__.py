"""Statistics of activations in one streaming pass with bounded memory."""

from .quantiles import Quantiles, flatten_positions
from .tally import Accumulator, FiringRate, TopK, tally

__all__ = ["Accumulator", "FiringRate", "Quantiles", "TopK", "flatten_positions", "tally"]
