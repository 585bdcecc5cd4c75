"""Segmentation probes: weights over a layer's units whose weighted map covers a concept.

All concepts of a layer are learned side by side. Half a percent of all bits are set, so a
position's scores for all concepts are the sum of the few rows of the weights whose units are on:
one sparse matrix product for all pictures and concepts of a step.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Bool, Float, InputError, Int, not_found
from ..dissection import upsample
from .prepare import BinaryActivations, PreparedSet, batches, block_mean_matrix, label_masks

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
CHUNK_MASKS = 2048  # masks scored together


@dataclass(frozen=True)
class Probes:
    """Learned weights; several rows may belong to one concept.

    Attributes:
        weights: a row for each probe.
        bias: added to the weighted map; a pixel belongs to the mask where the sum is above 0.
        concept: the column of the concept each row is for.
    """

    weights: Float[Tensor, "rows units"]
    bias: Float[Tensor, " rows"]
    concept: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return len(self.weights)

    def rows(self, chosen: Sequence[int] | slice | Tensor) -> "Probes":
        """Return some of the rows."""
        return Probes(self.weights[chosen], self.bias[chosen], self.concept[chosen])


@dataclass(frozen=True)
class SGDSettings:
    """How segmentation probes are learned.

    Attributes:
        rate: step size of stochastic gradient descent on a loss summed over label pixels.
        epochs: passes over the pictures.
        batch: pictures a step, in order, shared by all concepts; each concept's loss is the mean
            over those that show it. The released program goes through each concept's own pictures.
        momentum: of the descent.
        source: where the numbers come from.
    """

    rate: float
    epochs: int
    batch: int
    momentum: float = 0.9
    source: str = ""


# Steps scaled for each weight, as Adam's, cover as much, but leave weights of which the largest say
# little: with the eight largest alone, half of the IoU.
SGD_SETTINGS = {
    "released": SGDSettings(1e-4, 30, 16, source="Net2Vec's linearprobe_pytorch.py"),
    "batched": SGDSettings(0.1, 5, 64, source="chosen here: few passes, the same IoU"),
}


def _linear_loss(scores: Tensor, on: Tensor, off: Tensor, weights: Tensor) -> Tensor:
    chance = scores.sigmoid()
    return -(weights[:, :1, None] * on * chance + weights[:, 1:, None] * off * (1 - chance))


def _cross_entropy_loss(scores: Tensor, on: Tensor, off: Tensor, weights: Tensor) -> Tensor:
    positive = weights[:, :1, None] * on * functional.logsigmoid(scores)
    return -(positive + weights[:, 1:, None] * off * functional.logsigmoid(-scores))


# Of scores z, p = sigmoid(z), target t and weight a: linear, -[a t p + (1 - a)(1 - t)(1 - p)], is
# what the released program computes under the name BCELoss2d; cross-entropy has the logarithms of
# p and 1 - p that the name promises.
LOSSES: dict[str, Loss] = {"linear": _linear_loss, "cross-entropy": _cross_entropy_loss}


def segment(
    train: PreparedSet,
    layer: str,
    concepts: Sequence[int] | None = None,
    *,
    loss: str = "linear",
    recipe: str | SGDSettings = "batched",
    keep: Bool[Tensor, "rows units"] | None = None,
    seed: int = 0,
) -> Probes:
    """Learn segmentation probes of one layer, all together.

    Args:
        train: the pictures to learn from.
        layer: one of the layers that were prepared.
        concepts: the column of each probe's concept; a column may occur several times. None for
            one probe for every concept that some picture shows.
        loss: a name in `LOSSES`.
        recipe: a name in `RECIPES`, or one of your own.
        keep: the units that each probe may use; None for all.
        seed: of the first weights, uniform within 1 / sqrt(units); a concept's do not depend on
            which others are learned.

    Raises:
        NameNotFound: no such loss, recipe or prepared layer.
        InputError: a concept that no picture shows.

    Source: Fong and Vedaldi 2018; the released linearprobe_pytorch.py: bits of raw activations,
    no bias, bilinear upsampling (corner-aligned) after the weighted sum.
    """
    recipe, bits = _get_settings(recipe), train[layer]
    measure = LOSSES.get(loss)
    if measure is None:
        raise not_found("loss", loss, LOSSES)
    concept = _concept_columns(train, concepts)
    allowed = torch.ones(len(concept), bits.units) if keep is None else keep.float()
    drawn = torch.rand(len(train.concepts), bits.units, generator=_generator(seed)) * 2 - 1
    first = drawn[concept] / math.sqrt(bits.units)
    weights = nn.Parameter((first * allowed).T.contiguous())
    optimizer = torch.optim.SGD([weights], recipe.rate, recipe.momentum)
    steps = list(_steps(train, bits, concept, recipe.batch))
    for _ in range(recipe.epochs):
        for step in steps:
            optimizer.zero_grad()
            step.loss(weights, measure).backward()
            weights.grad *= allowed.T
            optimizer.step()
    return Probes(weights.detach().T.contiguous(), torch.zeros(len(concept)), concept)


def _get_settings(recipe: str | SGDSettings) -> SGDSettings:
    if isinstance(recipe, SGDSettings):
        return recipe
    if recipe not in SGD_SETTINGS:
        raise not_found("recipe", recipe, SGD_SETTINGS)
    return SGD_SETTINGS[recipe]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _concept_columns(train: PreparedSet, concepts: Sequence[int] | None) -> Int[Tensor, " rows"]:
    seen = train.present.any(0)
    if concepts is None:
        return seen.nonzero()[:, 0]
    concept = torch.as_tensor(concepts)
    unseen = [train.concepts[int(column)].name for column in concept if not seen[column]]
    if unseen or not len(concept):
        raise InputError(f"no training picture shows {unseen[0] if unseen else 'any concept'!r}")
    return concept


@dataclass(frozen=True)
class _Step:
    """The pictures of one step: what is on, and the pairs of picture and probe.

    Attributes:
        units: the units that are on, position by position.
        starts: where each position begins in `units`.
        picture: of each pair, counted within the step.
        row: the probe of each pair.
        pair: the pair of picture and concept it belongs to.
        inside: label pixels of the concept in each block, of each pair of picture and concept.
        sizes: label pixels of each block.
        weights: what a pixel of the concept weighs, and any other, each pair.
        share: what a pair weighs, so that every probe's loss is a mean over pictures.
        to_rows, to_columns: from positions to blocks.
    """

    units: Tensor
    starts: Tensor
    picture: Tensor
    row: Tensor
    pair: Tensor
    inside: Tensor
    sizes: Tensor
    weights: Tensor
    share: Tensor
    to_rows: Tensor
    to_columns: Tensor

    def loss(self, weights: Tensor, measure: Loss) -> Tensor:
        """Sum the losses of all probes; `weights` is (units, rows)."""
        sums = functional.embedding_bag(self.units, weights, self.starts, mode="sum")
        height, width = self.to_rows.shape[1], self.to_columns.shape[1]
        maps = sums.view(-1, height * width, weights.shape[1]).transpose(1, 2)
        maps = maps[self.picture, self.row].view(-1, height, width)
        scores = self.to_rows @ (maps @ self.to_columns.T)
        on = self.inside.float()[self.pair]
        return (measure(scores, on, self.sizes - on, self.weights).sum((1, 2)) * self.share).sum()


def _steps(
    train: PreparedSet, bits: BinaryActivations, concept: Tensor, batch: int
) -> Iterator[_Step]:
    shown = train.shown
    to_rows, to_columns = (block_mean_matrix(axis, shown.block) for axis in bits.grid)
    for pictures in batches(train.data, batch):
        part = shown.of_pictures(pictures[0], pictures[-1] + 1)
        pair, row = match_probes(shown.concept[part], concept, len(train.concepts))
        if not len(row):
            continue
        position, units = bits.on(pictures).reshape(-1, bits.units).nonzero()
        positions = len(pictures) * bits.grid.rows.count * bits.grid.columns.count
        yield _Step(
            units=torch.from_numpy(units),
            starts=torch.from_numpy(np.searchsorted(position, np.arange(positions))),
            picture=shown.picture[part][pair] - pictures[0],
            row=row,
            pair=pair,
            inside=shown.inside[part],
            sizes=shown.sizes,
            weights=train.balance[shown.concept[part][pair]],
            share=1 / row.bincount(minlength=len(concept))[row],
            to_rows=to_rows,
            to_columns=to_columns,
        )


def match_probes(
    shown: Int[Tensor, " pairs"], concept: Int[Tensor, " rows"], concepts: int
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Return, for every pair of picture and concept and every probe of it, pair and probe."""
    order, number = concept.argsort(stable=True), concept.bincount(minlength=concepts)
    first = number.cumsum(0) - number
    pair = torch.arange(len(shown)).repeat_interleave(number[shown])
    before = (number[shown].cumsum(0) - number[shown])[pair]
    return pair, order[first[shown][pair] + torch.arange(len(pair)) - before]


def set_iou(data: PreparedSet, layer: str, probes: Probes, *, batch: int = 64) -> Tensor:
    """Return each probe's IoU over the pictures that show its concept: (rows,), 0 to 1.

    Pixels of masks, of concepts and of both are counted at label resolution and summed over the
    pictures.

    Args:
        data: the pictures to score on.
        layer: the layer the probes were learned in.
        probes: what is scored.
        batch: pictures taken together; changes time and memory only.
    """
    bits, numbers = data[layer], [concept.number for concept in data.concepts]
    both, either = (torch.zeros(len(probes), dtype=torch.int64) for _ in range(2))
    for pictures in batches(data.data, batch):
        part = data.shown.of_pictures(pictures[0], pictures[-1] + 1)
        pair, row = match_probes(data.shown.concept[part], probes.concept, len(data.concepts))
        where, column = data.shown.picture[part] - pictures[0], data.shown.concept[part]
        truth = label_masks(data.data.label_maps(pictures), where.numpy(), column.numpy(), numbers)
        maps = torch.from_numpy(bits.maps(pictures)) @ probes.weights.T
        for chosen in torch.arange(len(pair)).split(CHUNK_MASKS):
            one, rows = pair[chosen], row[chosen]
            up = upsample(maps[where[one], :, :, rows][:, None], bits.grid)[:, 0]
            mask, shown = up > -probes.bias[rows, None, None], truth[one]
            both.index_add_(0, rows, (mask & shown).sum((1, 2)))
            either.index_add_(0, rows, (mask | shown).sum((1, 2)))
    return both.double() / either.clamp(min=1)


def masks(
    data: PreparedSet, layer: str, probes: Probes, pictures: Sequence[int]
) -> Bool[Tensor, "rows n y x"]:
    """Return the masks of every probe on pictures, at label resolution."""
    maps = torch.from_numpy(data[layer].maps(pictures)) @ probes.weights.T
    up = upsample(maps.permute(3, 0, 1, 2), data[layer].grid)
    return up > -probes.bias[:, None, None, None]
