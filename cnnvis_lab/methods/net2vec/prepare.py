"""What Net2Vec learns from: which units are above their threshold where, and where concepts are.

Activations are kept as one bit each, a picture's map of K units as K/8 bytes a position, so that a
layer of a whole data set stays in memory. Concepts are kept as (picture, concept) pairs with the
number of the concept's pixels in each block of label pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from ...core import Bool, Float, InputError, Int, UInt8, not_found
from ...data import Label, LabelledSet
from ..dissection import (
    CONVENTIONS,
    Axis,
    Grid,
    Plan,
    estimate_thresholds,
    ground_truth,
    make_plan,
    threshold_pass,
)

BLOCK_SIZE = 4  # side, in label pixels, of the blocks that a loss is summed over while learning


@dataclass(frozen=True)
class BinaryActivations:
    """A layer over a set of pictures.

    Attributes:
        units: number of its units.
        grid: where its positions lie among label pixels.
        thresholds: the activation above which each unit's bit is set.
        packed: which units exceed their threshold, eight to a byte.
        pooled: mean activations over the positions, each unit about its mean over the training
            pictures and in units of its deviation there.
    """

    units: int
    grid: Grid
    thresholds: Float[Tensor, " units"]
    packed: UInt8[Tensor, "n positions bytes"]
    pooled: Float[Tensor, "n units"]

    def on(self, pictures: Sequence[int]) -> Bool[np.ndarray, "n positions units"]:
        """Return the bits of pictures."""
        packed = self.packed[list(pictures)].numpy()
        return np.unpackbits(packed, axis=2, count=self.units).view(bool)

    def maps(self, pictures: Sequence[int]) -> Float[np.ndarray, "n h w units"]:
        """Return the bits of pictures as maps of zeros and ones, units last."""
        shape = (self.grid.rows.count, self.grid.columns.count)
        on = self.on(pictures)
        return on.astype(np.float32).reshape(len(on), *shape, self.units)


@dataclass(frozen=True)
class ConceptMasks:
    """Where concepts are in a set of pictures.

    Attributes:
        picture: number of the picture of each pair, rising.
        concept: column of the concept of each pair.
        inside: the concept's label pixels in each block.
        sizes: label pixels of each block.
        block: their side.
    """

    picture: Int[Tensor, " pairs"]
    concept: Int[Tensor, " pairs"]
    inside: UInt8[Tensor, "pairs rows columns"]
    sizes: Float[Tensor, "rows columns"]
    block: int

    @cached_property
    def fraction(self) -> Float[Tensor, " pairs"]:
        """The share of the picture that shows the concept, each pair."""
        return self.inside.sum((1, 2)) / self.sizes.sum()

    def of_pictures(self, first: int, last: int) -> slice:
        """Return the pairs of pictures `first` up to, not including, `last`."""
        ends = torch.searchsorted(self.picture, torch.tensor([first, last])).tolist()
        return slice(*ends)


@dataclass(frozen=True)
class PreparedSet:
    """A set of pictures made ready to learn from or to be scored on.

    Attributes:
        data: the pictures.
        concepts: the concepts, in the order of all columns.
        layers: layer -> its bits.
        shown: where the concepts are.
    """

    data: LabelledSet
    concepts: tuple[Label, ...]
    layers: Mapping[str, BinaryActivations]
    shown: ConceptMasks

    def __getitem__(self, layer: str) -> BinaryActivations:
        if layer not in self.layers:
            raise not_found("prepared layer", layer, self.layers)
        return self.layers[layer]

    @cached_property
    def present(self) -> Bool[Tensor, "n concepts"]:
        """Which concepts each picture shows."""
        present = torch.zeros(len(self.data), len(self.concepts), dtype=torch.bool)
        present[self.shown.picture, self.shown.concept] = True
        return present

    @cached_property
    def fraction(self) -> Float[Tensor, " concepts"]:
        """Mean share of a picture that a concept fills, over those that show it; 0 for none."""
        sums = torch.zeros(len(self.concepts), dtype=torch.float64)
        sums.index_add_(0, self.shown.concept, self.shown.fraction.double())
        return (sums / self.present.sum(0).clamp(min=1)).float()

    @cached_property
    def balance(self) -> Float[Tensor, "concepts 2"]:
        """What a pixel of each concept weighs in a loss, and any other pixel: a and 1 - a.

        a is 1 less the concept's `fraction`. Concepts that always fill their picture are not
        weighted: 1 and 1.
        """
        share = self.fraction[:, None]
        return torch.where(share < 1, torch.cat([1 - share, share], 1), 1.0)

    def columns(self, names: Sequence[str]) -> list[int]:
        """Return the columns of concepts by their names.

        Raises:
            NameNotFound: no such concept.
        """
        known = [concept.name for concept in self.concepts]
        for name in names:
            if name not in known:
                raise not_found("concept", name, known)
        return [known.index(name) for name in names]


def prepare(
    model: nn.Module,
    train: object,
    others: Sequence[object],
    layers: Sequence[str],
    *,
    batch: int = 64,
    block: int = BLOCK_SIZE,
    quantile: float = CONVENTIONS["net2vec"].quantile,
) -> list[PreparedSet]:
    """Run sets of pictures through a network and keep what Net2Vec needs.

    Thresholds, the activation that a share of `quantile` of each unit's exceeds, are told from the
    training pictures. The released program tells them from all of Broden.

    Args:
        model: any network; images in [0, 1] go in.
        train: a `PictureSet`, an opened Broden folder, or anything `Labelled`.
        others: sets to score on, with the same concepts.
        layers: dotted names or aliases; all are prepared together.
        batch: pictures taken together; changes time and memory only.
        block: side of the blocks that losses are summed over; 1 for single label pixels, as the
            released program does. Scores are always counted in single pixels.
        quantile: share of a unit's activations above its threshold.

    Returns:
        What was prepared, of `train` first.

    Raises:
        InputError: sets of different concepts, or a block no byte can count.
    """
    if not 1 <= block <= 15:
        raise InputError(f"blocks of {block} label pixels: expected 1 to 15")
    convention = replace(CONVENTIONS["net2vec"], quantile=quantile)
    plans = [
        make_plan(model, part, layers, convention=convention, batch=batch)
        for part in (train, *others)
    ]
    if any(plan.data.labels.keys() != plans[0].data.labels.keys() for plan in plans):
        raise InputError("training and validation pictures have different concepts")
    thresholds = estimate_thresholds(plans[0], threshold_pass(plans[0])[0])
    found, scale = [], None
    for plan in plans:
        packed, pooled = _binarize_and_pool(plan, thresholds)
        if scale is None:
            scale = {layer: (p.mean(0), p.std(0).clamp(min=1e-6)) for layer, p in pooled.items()}
        bits = {
            layer: BinaryActivations(
                plan.units[layer],
                plan.grids[layer],
                thresholds[layer],
                packed[layer],
                (pooled[layer] - scale[layer][0]) / scale[layer][1],
            )
            for layer in plan.layers
        }
        found.append(
            PreparedSet(plan.data, _sorted_concepts(plan.data), bits, _concept_masks(plan, block))
        )
    return found


def _sorted_concepts(data: LabelledSet) -> tuple[Label, ...]:
    return tuple(sorted(data.labels.values()))


def batches(data: LabelledSet, batch: int) -> Iterator[list[int]]:
    """Return the numbers of a set's pictures in order, so many at a time."""
    for part in torch.arange(len(data)).split(batch):
        yield part.tolist()


def _binarize_and_pool(
    plan: Plan, thresholds: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run all pictures through the network: packed bits and pooled activations of each layer."""
    packed, pooled = ({layer: [] for layer in plan.layers} for _ in range(2))
    for pictures in batches(plan.data, plan.batch):
        for layer, maps in plan.maps(pictures, plan.layers).items():
            flat = maps.flatten(2).cpu()
            on = (flat > thresholds[layer][:, None]).transpose(1, 2).numpy()
            packed[layer].append(torch.from_numpy(np.packbits(on, axis=2)))
            pooled[layer].append(flat.mean(2))
    return tuple({name: torch.cat(parts[name]) for name in parts} for parts in (packed, pooled))


def _concept_masks(plan: Plan, block: int) -> ConceptMasks:
    """Go through the label maps once and note which concepts each picture shows, and where."""
    numbers = [concept.number for concept in _sorted_concepts(plan.data)]
    picture, concept, inside = [], [], []
    for pictures in batches(plan.data, plan.batch):
        maps = plan.labels(pictures)
        where, column = ground_truth(maps.numpy(), numbers).pixels[:, 1:].nonzero()
        picture.append(torch.tensor(pictures)[where])
        concept.append(torch.from_numpy(column))
        inside.append(block_sums(label_masks(maps, where, column, numbers), block).to(torch.uint8))
    sizes = block_sums(torch.ones(1, *maps.shape[2:]), block)[0]
    return ConceptMasks(torch.cat(picture), torch.cat(concept), torch.cat(inside), sizes, block)


def label_masks(
    maps: Tensor,
    where: Int[np.ndarray, " m"],
    column: Int[np.ndarray, " m"],
    numbers: Sequence[int],
) -> Bool[Tensor, "m y x"]:
    """Return the masks of concepts, by column, in the pictures `where` of a batch of label maps."""
    number = torch.tensor(numbers)[torch.from_numpy(column)].to(maps.dtype)
    shown = torch.zeros(len(where), *maps.shape[2:], dtype=torch.bool)
    for layer in maps.unbind(1):
        shown |= layer[torch.from_numpy(where)] == number[:, None, None]
    return shown


def block_sums(maps: Tensor, side: int) -> Float[Tensor, "m rows columns"]:
    """Sum maps (m, y, x) over square blocks; those at the far edges may be smaller."""
    return _block_sums_along_last(
        _block_sums_along_last(maps.float(), side).transpose(1, 2), side
    ).transpose(1, 2)


def _block_sums_along_last(maps: Tensor, side: int) -> Tensor:
    padded = torch.nn.functional.pad(maps, (0, -maps.shape[2] % side))
    return padded.unflatten(2, (-1, side)).sum(3)


def block_mean_matrix(axis: Axis, side: int) -> Float[Tensor, "blocks positions"]:
    """Return the matrix from values at positions to means of the interpolation over blocks."""
    low, high = axis.corners(axis.cell)
    share, pixel = torch.from_numpy(axis.weight), torch.arange(axis.length)
    matrix = torch.zeros(axis.length, axis.count)
    matrix.index_put_((pixel, torch.from_numpy(low)), share, accumulate=True)
    matrix.index_put_((pixel, torch.from_numpy(high)), 1 - share, accumulate=True)
    sums = _block_sums_along_last(matrix.T[None], side)[0].T
    return sums / sums.sum(1, keepdim=True)
