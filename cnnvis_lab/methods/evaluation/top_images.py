"""Top-activating images of a dataset, and the units that they activate."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...core import Int
from ...core.statistics import TopK, tally
from ...models import Model


def top_images(
    model: Model,
    layers: Sequence[str],
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    k: int = 9,
) -> dict[str, TopK]:
    """Return the k top-activating images of a dataset for every unit of some layers.

    Args:
        model: the network.
        layers: dotted names or aliases.
        batches: (indices, images) pairs.
        k: number of images per unit.
    """
    top = {layer: TopK(k) for layer in layers}
    tally(model, batches, {layer: [images] for layer, images in top.items()})
    return top


def active_units(top: TopK, count: int, seed: int = 0, *, min_images: int = 1) -> list[int]:
    """Draw a random sample of a layer's active units, sorted.

    Args:
        top: the layer's top-activating images.
        count: maximum size of the sample.
        seed: seed of the sample.
        min_images: number of top-activating images with a positive activation from which a unit
            counts as active; 1 is used if no unit has as many.
    """
    rank = min(min_images, top.values.shape[1]) - 1
    candidates = [(top.values[:, r] > 0).nonzero().flatten() for r in (rank, 0)]
    active = next((units for units in candidates if len(units)), torch.arange(len(top.values)))
    order = torch.randperm(len(active), generator=torch.Generator().manual_seed(seed))
    return sorted(active[order[:count]].tolist())
