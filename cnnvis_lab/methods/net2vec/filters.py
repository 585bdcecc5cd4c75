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
    """The best single unit for each concept, chosen on training images and scored on others.

    Attributes:
        unit: (concepts,) the unit.
        train: (concepts,) its score on the training images.
        score: (concepts,) its score on the other images.
    """

    unit: Int[Tensor, " concepts"]
    train: Float[Tensor, " concepts"]
    score: Float[Tensor, " concepts"]


def usable_concepts(
    train: PreparedSet, validation: PreparedSet, *, min_images: int = 5, segmentation: bool = True
) -> list[int]:
    """Return the columns of the concepts that can be learned and scored.

    Args:
        train: the images to learn from.
        validation: the images to score on.
        min_images: minimum number of images of each set that show a concept.
        segmentation: leave out concepts that always fill their image. If False, leave out concepts
            that are missing in fewer than `min_images` images, as classification requires.
    """
    usable = torch.ones(len(train.concepts), dtype=torch.bool)
    for data in (train, validation):
        images = data.present.sum(0)
        usable &= images >= min_images
        usable &= data.mean_fraction < 1 if segmentation else images <= len(data.data) - min_images
    return usable.nonzero()[:, 0].tolist()


def filter_iou(
    data: PreparedSet, layer: str, *, batch: int = 64
) -> Float[Tensor, "units concepts"]:
    """Return the IoU of every unit with every concept, over the images that show the concept.

    A unit's mask consists of the pixels where its upsampled bits exceed one half.

    Args:
        data: the prepared set.
        layer: the layer.
        batch: images per batch; affects only time and memory.

    Source: Fong and Vedaldi 2018; the released labelprobe_pytorch.py.
    """
    bits = data[layer]
    counts = Counts({layer: bits.units}, data.concepts, "concept")
    half = np.full(bits.units, 0.5, dtype=np.float32)
    for indices in batches(data.data, batch):
        truth = ground_truth(data.data.label_maps(indices).numpy(), counts.numbers)
        counts.add_truth(truth)
        cells = cells_above(bits.maps(indices), half)
        counts.add_masks(layer, active_pixels(cells, bits.grid, half, binary=True), truth)
    intersection = counts.sums[f"{layer}.intersection"][:, 1:]
    return intersection.double() / counts.union(layer).clamp(min=1)


def best_filters(
    train: PreparedSet,
    validation: PreparedSet,
    layer: str,
    concepts: Sequence[int] | None = None,
) -> BestFilters:
    """Choose each concept's best single unit on one set and score it on another, by IoU.

    Args:
        train: the images on which to choose.
        validation: the images on which to score.
        layer: the layer.
        concepts: the columns of the concepts; None for all.
    """
    chosen = slice(None) if concepts is None else list(concepts)
    iou, unit = filter_iou(train, layer)[:, chosen].max(0)
    return BestFilters(unit, iou, filter_iou(validation, layer)[:, chosen].gather(0, unit[None])[0])


def one_hot(
    data: PreparedSet, layer: str, unit: Int[Tensor, " rows"], concept: Sequence[int]
) -> Probes:
    """Return single units as probes, whose masks are those of the units.

    Args:
        data: the prepared set.
        layer: the layer.
        unit: the unit of each probe.
        concept: the column of each probe's concept.
    """
    weights = functional.one_hot(unit, data[layer].units).float()
    return Probes(weights, torch.full((len(unit),), -0.5), torch.as_tensor(concept))


def largest_weights(probes: Probes, count: int) -> Bool[Tensor, "rows units"]:
    """Return which units have the `count` largest weights of each probe.

    Raises:
        InputError: more units than the layer has, or none.
    """
    if not 1 <= count <= probes.weights.shape[1]:
        raise InputError(f"{count} filters of {probes.weights.shape[1]}: expected at least 1")
    chosen = probes.weights.abs().topk(count, dim=1).indices
    return torch.zeros_like(probes.weights, dtype=torch.bool).scatter_(1, chosen, True)


def learn_subsets(
    learn: Callable[..., Probes],
    train: PreparedSet,
    layer: str,
    probes: Probes,
    sizes: Sequence[int],
) -> list[Probes]:
    """Relearn probes with only the units of largest weight, for all sizes and concepts together.

    Args:
        learn: `segment` or `classify`, with the options used for `probes`.
        train: the images to learn from.
        layer: the layer.
        probes: probes learned with all units.
        sizes: numbers of units.

    Returns:
        For each size, probes of the same concepts as `probes`.
    """
    allowed = torch.cat([largest_weights(probes, size) for size in sizes])
    concepts = probes.concept.repeat(len(sizes)).tolist()
    learned, rows = learn(train, layer, concepts, allowed=allowed), len(probes)
    return [learned.rows(slice(i * rows, (i + 1) * rows)) for i in range(len(sizes))]
