"""Binarized activations and concept masks of a dataset, in compact form.

Activations are stored as one bit each, K / 8 bytes per position for K units, so that a layer over a
whole dataset fits in memory. Concepts are stored as (image, concept) pairs, with the number of
concept pixels in each block of label pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Bool, Float, InputError, Int, UInt8, not_found
from ...data import Label, LabelledSet
from ..dissection import (
    CONVENTIONS,
    Axis,
    Convention,
    Grid,
    LabelledData,
    Plan,
    Spread,
    estimate_thresholds,
    ground_truth,
    make_plan,
    spread_threshold_pass,
    threshold_pass,
)

BLOCK_SIZE = 4  # size, in label pixels, of the blocks over which training losses are summed


@dataclass(frozen=True)
class BinaryActivations:
    """Binarized activations of a layer over a dataset.

    Attributes:
        units: number of units.
        grid: positions in label pixels.
        thresholds: the activation above which each unit's bit is set.
        packed: which units exceed their threshold, eight per byte.
        pooled: activations averaged over positions, standardized with mean and standard deviation
            over the training images.
    """

    units: int
    grid: Grid
    thresholds: Float[Tensor, " units"]
    packed: UInt8[Tensor, "n positions bytes"]
    pooled: Float[Tensor, "n units"]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the maps."""
        return self.grid.rows.count, self.grid.columns.count

    def active(self, indices: Sequence[int]) -> Bool[np.ndarray, "n positions units"]:
        """Return which units exceed their threshold, at each position of some images."""
        packed = self.packed[list(indices)].numpy()
        return np.unpackbits(packed, axis=2, count=self.units).view(bool)

    def maps(self, indices: Sequence[int]) -> Float[np.ndarray, "n h w units"]:
        """Return the bits of images as maps of zeros and ones, units last."""
        active = self.active(indices)
        return active.astype(np.float32).reshape(len(active), *self.shape, self.units)


@dataclass(frozen=True)
class ConceptMasks:
    """The pixels of concepts in a dataset, as pairs of image and concept.

    Attributes:
        image: index of the image of each pair, in increasing order.
        concept: column of the concept of each pair.
        pixels: number of the concept's label pixels in each block, for each pair.
        block_pixels: number of label pixels in each block.
        block_size: size of a block, in label pixels.
    """

    image: Int[Tensor, " pairs"]
    concept: Int[Tensor, " pairs"]
    pixels: UInt8[Tensor, "pairs rows columns"]
    block_pixels: Float[Tensor, "rows columns"]
    block_size: int

    @cached_property
    def fraction(self) -> Float[Tensor, " pairs"]:
        """Fraction of the image that the concept fills, for each pair."""
        return self.pixels.sum((1, 2)) / self.block_pixels.sum()

    def pairs_of(self, indices: Sequence[int]) -> slice:
        """Return the pairs of consecutive images."""
        ends = torch.tensor([indices[0], indices[-1] + 1])
        return slice(*torch.searchsorted(self.image, ends).tolist())


@dataclass(frozen=True)
class PreparedSet:
    """A dataset prepared for learning or scoring.

    Attributes:
        data: the images.
        concepts: the concepts, in the order of the columns.
        layers: layer -> its binary activations.
        masks: pixels of the concepts.
    """

    data: LabelledSet
    concepts: tuple[Label, ...]
    layers: Mapping[str, BinaryActivations]
    masks: ConceptMasks

    def __getitem__(self, layer: str) -> BinaryActivations:
        if layer not in self.layers:
            raise not_found("prepared layer", layer, self.layers)
        return self.layers[layer]

    def labels_of(self, columns: Int[Tensor, " n"]) -> tuple[Label, ...]:
        """Return the concepts in some columns."""
        return tuple(self.concepts[column] for column in columns.tolist())

    @cached_property
    def present(self) -> Bool[Tensor, "n concepts"]:
        """Which concepts each image shows."""
        present = torch.zeros(len(self.data), len(self.concepts), dtype=torch.bool)
        present[self.masks.image, self.masks.concept] = True
        return present

    @cached_property
    def mean_fraction(self) -> Float[Tensor, " concepts"]:
        """Mean fraction of an image that a concept fills, over images that show it; 0 if none."""
        sums = torch.zeros(len(self.concepts), dtype=torch.float64)
        sums.index_add_(0, self.masks.concept, self.masks.fraction.double())
        return (sums / self.present.sum(0).clamp(min=1)).float()

    @cached_property
    def pixel_weights(self) -> Float[Tensor, "concepts 2"]:
        """Weights a and 1 - a of a concept's pixels and of all others in a loss.

        a is 1 - `mean_fraction`. Concepts that always fill their image have weights 1 and 1.
        """
        fraction = self.mean_fraction[:, None]
        return torch.where(fraction < 1, torch.cat([1 - fraction, fraction], 1), 1.0)

    def large_examples(self, concept: int, count: int) -> list[int]:
        """Return the first images in which a concept has at least its median size.

        Args:
            concept: column of the concept.
            count: maximum number of images.
        """
        shows_it, fraction = self.masks.concept == concept, self.masks.fraction
        if not shows_it.any():
            return []
        large = shows_it & (fraction >= fraction[shows_it].median())
        return self.masks.image[large][:count].tolist()


def prepare(
    model: nn.Module,
    train: LabelledData,
    others: Sequence[LabelledData],
    layers: Sequence[str],
    *,
    batch: int = 64,
    block: int = BLOCK_SIZE,
    quantile: float = CONVENTIONS["net2vec"].quantile,
    spreads: Sequence[Spread] = (),
) -> list[PreparedSet]:
    """Run datasets through a network and store what Net2Vec needs.

    A fraction `quantile` of each unit's activations exceeds its threshold. Thresholds are estimated
    from the training images; the released program estimates them from all of Broden.

    Args:
        model: any network that takes images in [0, 1].
        train: images with label maps: a `SceneSet`, a Broden folder, or any `LabelledSet`.
        others: datasets to score on, with the same concepts.
        layers: dotted names or aliases; all are prepared together.
        batch: images per batch; affects only time and memory.
        block: size of the blocks over which training losses are summed; 1 for single label pixels,
            as in the released program. Scores always count single pixels.
        quantile: fraction of a unit's activations that exceed its threshold.
        spreads: processes that share the batches, for `train` and then each of `others` one that
            opens the network and these images; empty to run them in this process. The result is
            the same.

    Returns:
        The prepared sets, `train` first.

    Raises:
        InputError: datasets with different concepts, or a block size outside 1 to 15.
    """
    if not 1 <= block <= 15:  # the pixels of a block are counted in one byte
        raise InputError(f"blocks of {block} label pixels: expected 1 to 15")
    convention = replace(CONVENTIONS["net2vec"], quantile=quantile)
    plans = [
        make_plan(model, data, layers, convention=convention, batch=batch)
        for data in (train, *others)
    ]
    if any(plan.data.labels.keys() != plans[0].data.labels.keys() for plan in plans):
        raise InputError("training and validation images have different concepts")
    first = plans[0]
    quantiles, _ = spread_threshold_pass(first, spreads[0]) if spreads else threshold_pass(first)
    thresholds = estimate_thresholds(first, quantiles)
    shared = spreads or [None] * len(plans)
    found = [
        _read(plan, thresholds, block, spread) for plan, spread in zip(plans, shared, strict=True)
    ]
    pooled = {layer: found[0][f"{layer}.pooled"] for layer in first.layers}
    scale = {layer: (x.mean(0), x.std(0).clamp(min=1e-6)) for layer, x in pooled.items()}
    prepared = []
    for plan, parts in zip(plans, found, strict=True):
        activations = {}
        for layer in plan.layers:
            mean, std = scale[layer]
            activations[layer] = BinaryActivations(
                plan.units[layer],
                plan.grids[layer],
                thresholds[layer],
                parts[f"{layer}.packed"],
                (parts[f"{layer}.pooled"] - mean) / std,
            )
        grid = plan.grids[plan.layers[0]]
        whole = block_sums(torch.ones(1, grid.rows.length, grid.columns.length), block)[0]
        masks = ConceptMasks(parts["image"], parts["concept"], parts["pixels"], whole, block)
        prepared.append(PreparedSet(plan.data, _concepts(plan), activations, masks))
    return prepared


def batches(data: LabelledSet, size: int) -> Iterator[list[int]]:
    """Yield the indices of a set's images in order, `size` at a time."""
    for indices in torch.arange(len(data)).split(size):
        yield indices.tolist()


def _concepts(plan: Plan) -> tuple[Label, ...]:
    return tuple(sorted(plan.data.labels.values()))


def _read(
    plan: Plan, thresholds: Mapping[str, Tensor], block: int, spread: Spread | None
) -> dict[str, Tensor]:
    """Read all images and label maps in order, see `_read_batch`."""
    order = list(batches(plan.data, plan.batch))
    if spread is None:
        parts = [_read_batch(plan, indices, thresholds, block) for indices in order]
    else:
        settings = plan.layers, plan.convention, plan.batch
        ended = spread.run_parts(
            _read_elsewhere, order, settings, thresholds, block, describe=_describe
        )
        found = {indices[0]: part for indices, part in ended}
        parts = [found[first] for first in sorted(found)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _read_elsewhere(
    open_subject: Callable,
    indices: Sequence[int],
    settings: tuple[tuple[str, ...], Convention, int],
    thresholds: Mapping[str, Tensor],
    block: int,
) -> dict[str, Tensor]:
    return _read_batch(_open_plan(open_subject, *settings), indices, thresholds, block)


@lru_cache(maxsize=2)
def _open_plan(
    open_subject: Callable, layers: tuple[str, ...], convention: Convention, batch: int
) -> Plan:
    model, data = open_subject()
    return make_plan(model, data, layers, convention=convention, batch=batch)


def _describe(indices: Sequence[int]) -> str:
    return f"images {indices[0]} to {indices[-1]}"


def _read_batch(
    plan: Plan, indices: Sequence[int], thresholds: Mapping[str, Tensor], block: int
) -> dict[str, Tensor]:
    """Return each layer's packed bits and pooled activations for some images, and their masks.

    The masks are pairs of image and concept, with the pixels in each block.
    """
    found = {}
    for layer, maps in plan.maps(indices, plan.layers).items():
        flat = maps.flatten(2).cpu()
        active = (flat > thresholds[layer][:, None]).transpose(1, 2).numpy()
        found[f"{layer}.packed"] = torch.from_numpy(np.packbits(active, axis=2))
        found[f"{layer}.pooled"] = flat.mean(2)
    maps, numbers = plan.labels(indices), [concept.number for concept in _concepts(plan)]
    row, column = ground_truth(maps.numpy(), numbers).pixels[:, 1:].nonzero()
    masks = label_masks(maps, row, column, numbers)
    found["image"], found["concept"] = torch.tensor(indices)[row], torch.from_numpy(column)
    found["pixels"] = block_sums(masks, block).to(torch.uint8)
    return found


def label_masks(
    maps: Tensor,
    row: Int[np.ndarray, " m"],
    column: Int[np.ndarray, " m"],
    numbers: Sequence[int],
) -> Bool[Tensor, "m y x"]:
    """Return the masks of concepts in a batch of label maps.

    Args:
        maps: (n, layers, y, x) label numbers.
        row: the image of each mask, within the batch.
        column: the concept of each mask.
        numbers: the label number of each concept, by its column.
    """
    number = torch.tensor(numbers)[torch.from_numpy(column)].to(maps.dtype)
    masks = torch.zeros(len(row), *maps.shape[2:], dtype=torch.bool)
    for layer in maps.unbind(1):
        masks |= layer[torch.from_numpy(row)] == number[:, None, None]
    return masks


def block_sums(maps: Tensor, size: int) -> Float[Tensor, "m rows columns"]:
    """Sum maps (m, y, x) over square blocks; blocks at the far edges may be smaller."""
    return _sums_along_last(_sums_along_last(maps.float(), size).mT, size).mT


def _sums_along_last(maps: Tensor, size: int) -> Tensor:
    padded = functional.pad(maps, (0, -maps.shape[2] % size))
    return padded.unflatten(2, (-1, size)).sum(3)


def block_mean_matrix(axis: Axis, size: int) -> Float[Tensor, "blocks positions"]:
    """Return the matrix that maps values at positions to block means of their interpolation."""
    low, high = axis.corners(axis.cell)
    weight, pixel = torch.from_numpy(axis.weight), torch.arange(axis.length)
    matrix = torch.zeros(axis.length, axis.count)
    matrix.index_put_((pixel, torch.from_numpy(low)), weight, accumulate=True)
    matrix.index_put_((pixel, torch.from_numpy(high)), 1 - weight, accumulate=True)
    sums = _sums_along_last(matrix.T[None], size)[0].T
    return sums / sums.sum(1, keepdim=True)
