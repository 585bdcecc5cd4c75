"""Top-activating images of a data set, and the units that they activate."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from ...core import Float, Int
from ...core.statistics import TopK, tally
from ...models import Model


def top_images(
    model: Model,
    layers: Sequence[str],
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    k: int = 9,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, TopK]:
    """Return the k pictures of a data set that excite each unit of the layers most."""
    found = {layer: TopK(k) for layer in layers}
    tally(model, batches, {layer: [top] for layer, top in found.items()}, on_progress)
    return found


def active_units(found: TopK, count: int, seed: int = 0, *, pictures: int = 1) -> list[int]:
    """Draw units that pictures of the data set excite, at random; sorted.

    Args:
        found: the strongest pictures of a layer's units.
        count: how many at most.
        seed: of the draw.
        pictures: how many, at least, must excite a unit (one will do where no unit has so many).
    """
    needed = min(pictures, found.values.shape[1]) - 1
    each = [(found.values[:, rank] > 0).nonzero().flatten() for rank in (needed, 0)]
    alive = next((units for units in each if len(units)), torch.arange(len(found.values)))
    drawn = torch.randperm(len(alive), generator=torch.Generator().manual_seed(seed))
    return sorted(alive[drawn[:count]].tolist())


def fraction_above_dataset_max(
    found: TopK, units: Sequence[int], activations: Float[Tensor, " n"]
) -> float:
    """Return the share of units whose picture excites them more than any of the data set."""
    return float((activations > found.values[list(units), 0]).float().mean())
