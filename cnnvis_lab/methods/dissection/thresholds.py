"""What the first pass needs to know about thresholds: where they may lie, and if they are exact."""

from collections.abc import Mapping

from torch import Tensor

from ...core.statistics import Quantiles
from .plan import Plan

SAMPLE_IMAGES = 256  # images before floors are set, below which values are ignored
FLOOR_MARGIN = 3.0  # fraction of the sample above the floors, relative to that above thresholds


def sample_batches(plan: Plan) -> int:
    """Return the number of batches before floors are set."""
    return -(-SAMPLE_IMAGES // plan.batch)


def estimate_floors(plan: Plan, quantiles: Mapping[str, Quantiles]) -> dict[str, Tensor]:
    """Return layer -> (units,) levels below which thresholds are unlikely to lie, by a sample."""
    fraction = min(FLOOR_MARGIN * plan.convention.quantile, 0.5)
    return {layer: quantiles[layer].at(1 - fraction) for layer in plan.layers}


def inexact_layers(plan: Plan, quantiles: Mapping[str, Quantiles]) -> tuple[str, ...]:
    """Return the layers of which a floor was too high for a threshold that is exact in rank."""
    fraction = 1 - plan.convention.quantile
    return tuple(name for name in plan.layers if not quantiles[name].is_exact(fraction).all())
