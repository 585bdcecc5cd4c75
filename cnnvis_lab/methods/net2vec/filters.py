"""The best single filter for each concept, and combinations restricted to a subset of filters."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, InputError, Int
from ..dissection import Counts, active_pixels, cells_above, ground_truth
from .prepare import PreparedSet, batches
from .segment import Probes


class BestFilters(NamedTuple):
    """The single unit that serves each concept best: chosen on training pictures, scored on others.

    Attributes:
        unit: (concepts,) the unit.
        train: (concepts,) its score where it was chosen.
        score: (concepts,) its score on the other pictures.
    """

    unit: Int[Tensor, " concepts"]
    train: Float[Tensor, " concepts"]
    score: Float[Tensor, " concepts"]


def usable_concepts(
    train: PreparedSet, validation: PreparedSet, *, least: int = 5, masked: bool = True
) -> list[int]:
    """Return the columns of the concepts that can be learned and scored.

    Args:
        train: the pictures to learn from.
        validation: the pictures to score on.
        least: pictures of each that must show a concept, and of each that must not.
        masked: leave out concepts that always fill their picture; False to leave out instead what
            all but `least` pictures show, as a classification needs.
    """
    enough = torch.ones(len(train.concepts), dtype=torch.bool)
    for part in (train, validation):
        number = part.present.sum(0)
        enough &= number >= least
        enough &= part.fraction < 1 if masked else number <= len(part.data) - least
    return enough.nonzero()[:, 0].tolist()


def filter_iou(
    data: PreparedSet, layer: str, *, batch: int = 64
) -> Float[Tensor, "units concepts"]:
    """Return the IoU of every single unit with every concept, over the pictures that show it.

    A unit's mask is where its upsampled bits exceed one half.

    Source: Fong and Vedaldi 2018; the released labelprobe_pytorch.py.
    """
    bits = data[layer]
    counts = Counts({layer: bits.units}, data.concepts, "concept")
    half = np.full(bits.units, 0.5, dtype=np.float32)
    for pictures in batches(data.data, batch):
        shown = ground_truth(data.data.label_maps(pictures).numpy(), counts.numbers)
        counts.add_truth(shown)
        cells = cells_above(bits.maps(pictures), half)
        counts.add_masks(layer, active_pixels(cells, bits.grid, half, binary=True), shown)
    intersection = counts.sums[f"{layer}.intersection"][:, 1:]
    return intersection.double() / counts.union(layer).clamp(min=1)


def best_filters(train: PreparedSet, validation: PreparedSet, layer: str) -> BestFilters:
    """Choose each concept's best single unit on one set and score it on another, by IoU."""
    chosen, unit = filter_iou(train, layer).max(0)
    return BestFilters(unit, chosen, filter_iou(validation, layer).gather(0, unit[None])[0])


def one_hot(
    data: PreparedSet, layer: str, best: Int[Tensor, " rows"], concept: Sequence[int]
) -> Probes:
    """Return probes that are single units; their masks are the units' own."""
    weights = functional.one_hot(best, data[layer].units).float()
    return Probes(weights, torch.full((len(best),), -0.5), torch.as_tensor(concept))


def largest_weights(probes: Probes, count: int) -> Bool[Tensor, "rows units"]:
    """Say which units have the `count` largest weights of each probe.

    Raises:
        InputError: more units than there are, or none.
    """
    if not 1 <= count <= probes.weights.shape[1]:
        raise InputError(f"{count} filters of {probes.weights.shape[1]}: expected at least 1")
    chosen = probes.weights.abs().topk(count, dim=1).indices
    return torch.zeros_like(probes.weights, dtype=torch.bool).scatter_(1, chosen, True)


def learn_subsets(
    learn: Callable[..., Probes],
    train: PreparedSet,
    layer: str,
    whole: Probes,
    sizes: Sequence[int],
    **knobs: object,
) -> list[Probes]:
    """Learn again with only the units of largest weight; all sizes and concepts together.

    Args:
        learn: `segment` or `classify`.
        train: the pictures to learn from.
        layer: the layer.
        whole: what was learned with all units.
        sizes: numbers of units.
        knobs: as `whole` was learned.

    Returns:
        Probes for each size, concepts as in `whole`.
    """
    keep = torch.cat([largest_weights(whole, size) for size in sizes])
    concepts = whole.concept.repeat(len(sizes)).tolist()
    learned, rows = learn(train, layer, concepts, keep=keep, **knobs), len(whole)
    return [learned.rows(slice(i * rows, (i + 1) * rows)) for i in range(len(sizes))]
