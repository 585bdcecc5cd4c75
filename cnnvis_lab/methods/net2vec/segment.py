"""Segmentation probes: weights over a layer's units whose weighted map covers a concept.

All concepts of a layer are learned in parallel. Only half a percent of all bits are set. A
position's scores for all concepts are therefore the sum of a few rows of the weight matrix, those
of its active units, and a step needs one sparse matrix product for all images and concepts.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Bool, Float, InputError, Int, choose, with_gradients
from ..dissection import upsample
from .prepare import BinaryActivations, PreparedSet, batches, block_mean_matrix, label_masks

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
CHUNK_MASKS = 2048  # number of masks that are scored together
CUTS = torch.linspace(0, 0.8, 9)  # candidates for the bias, as fractions of the largest sum


@dataclass(frozen=True)
class Probes:
    """Concept vectors, as rows of weights; several rows may belong to one concept.

    Attributes:
        weights: one row per probe.
        bias: added to the weighted map; a pixel belongs to the mask if the sum is above 0.
        concept: the column of each row's concept.
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
    """How segmentation probes are optimized.

    Attributes:
        learning_rate: learning rate of stochastic gradient descent on a loss summed over label
            pixels.
        epochs: passes over the images.
        batch: consecutive images per step, shared by all concepts; each concept's loss is the mean
            over the images that show it. The released program iterates over each concept's own
            images instead.
        momentum: momentum of the descent.
        calibrated: then choose each bias so that the IoU over the training images is largest. With
            a bias of 0, as in the released program, a mask reaches as far as interpolation carries
            any positive sum, a whole position beyond the active ones.
        source: origin of these values.
    """

    learning_rate: float
    epochs: int
    batch: int
    momentum: float = 0.9
    calibrated: bool = False
    source: str = ""


# Adam reaches the same IoU, but its weights cannot be pruned: with only the eight largest weights,
# half of the IoU is lost.
SGD_SETTINGS = {
    "released": SGDSettings(1e-4, 30, 16, source="Net2Vec's linearprobe_pytorch.py"),
    "batched": SGDSettings(
        0.1, 5, 64, calibrated=True, source="chosen here: fewer passes, a higher IoU"
    ),
}


def _linear_loss(scores: Tensor, on: Tensor, off: Tensor, weights: Tensor) -> Tensor:
    probability = scores.sigmoid()
    return -(
        weights[:, :1, None] * on * probability + weights[:, 1:, None] * off * (1 - probability)
    )


def _cross_entropy_loss(scores: Tensor, on: Tensor, off: Tensor, weights: Tensor) -> Tensor:
    positive = weights[:, :1, None] * on * functional.logsigmoid(scores)
    return -(positive + weights[:, 1:, None] * off * functional.logsigmoid(-scores))


# For a score z, p = sigmoid(z), a target t and a weight a, "linear" is -[a t p + (1 - a)(1 - t)(1 -
# p)], which the released program computes under the name BCELoss2d; "cross-entropy" has log p and
# log(1 - p) instead, as this name suggests.
LOSSES: dict[str, Loss] = {"linear": _linear_loss, "cross-entropy": _cross_entropy_loss}


@with_gradients
def segment(
    train: PreparedSet,
    layer: str,
    concepts: Sequence[int] | None = None,
    *,
    loss: str = "linear",
    settings: str | SGDSettings = "batched",
    allowed: Bool[Tensor, "rows units"] | None = None,
    seed: int = 0,
) -> Probes:
    """Learn segmentation probes of one layer, all in parallel.

    Args:
        train: the images to learn from.
        layer: one of the prepared layers.
        concepts: the column of each probe's concept; a column may occur several times. None for
            one probe per concept that some image shows.
        loss: a name in `LOSSES`.
        settings: a name in `SGD_SETTINGS`, or custom settings.
        allowed: the units that each probe may use; None for all.
        seed: seed of the initial weights, which are uniform within 1 / sqrt(units); those of a
            concept do not depend on which other concepts are learned.

    Raises:
        NameNotFound: no such loss, settings or prepared layer.
        InputError: a concept that no image shows.

    Source: Fong and Vedaldi 2018; the released linearprobe_pytorch.py: bits of raw activations,
    no bias, bilinear upsampling (corner-aligned) after the weighted sum. Calibration is this
    project's.
    """
    bits = train[layer]
    settings = choose("settings", settings, SGD_SETTINGS)
    measure = choose("loss", loss, LOSSES)
    concept = _concept_columns(train, concepts)
    mask = torch.ones(len(concept), bits.units) if allowed is None else allowed.float()
    generator = torch.Generator().manual_seed(seed)
    initial = torch.rand(len(train.concepts), bits.units, generator=generator) * 2 - 1
    initial = initial[concept] / math.sqrt(bits.units)
    weights = nn.Parameter((initial * mask).T.contiguous())
    optimizer = torch.optim.SGD([weights], settings.learning_rate, settings.momentum)
    steps = list(_steps(train, bits, concept, settings.batch))
    for _ in range(settings.epochs):
        for step in steps:
            (gradient,) = torch.autograd.grad(step.loss(weights, measure), [weights])
            weights.grad = gradient * mask.T
            optimizer.step()
    learned = weights.detach()
    bias = _best_bias(steps, learned) if settings.calibrated else torch.zeros(len(concept))
    return Probes(learned.T.contiguous(), bias, concept)


def _best_bias(steps: Sequence["_Step"], weights: Float[Tensor, "units rows"]) -> Tensor:
    """Return (rows,): the biases of the largest IoU over all steps, with blocks as pixels."""
    rows = weights.shape[1]
    largest = torch.zeros(rows)
    scores = [step.scores(weights) for step in steps]
    for step, maps in zip(steps, scores, strict=True):
        largest.scatter_reduce_(0, step.row, maps.amax((1, 2)), "amax")
    cuts = CUTS[:, None] * largest
    intersection, union = torch.zeros(2, len(CUTS), rows)
    for step, maps in zip(steps, scores, strict=True):
        on, size = step.pixels.float(), step.block_pixels.float()
        for number, cut in enumerate(cuts):
            inside = maps > cut[step.row, None, None]
            intersection[number].index_add_(0, step.row, (on * inside).sum((1, 2)))
            union[number].index_add_(0, step.row, torch.where(inside, size, on).sum((1, 2)))
    best = (intersection / union.clamp(min=1)).argmax(0)
    return -cuts[best, torch.arange(rows)]


@with_gradients
def segment_layers(
    train: PreparedSet,
    layers: Sequence[str],
    concepts: Sequence[int] | None = None,
    *,
    loss: str = "linear",
    seed: int = 0,
) -> dict[str, Probes]:
    """Return layer -> its segmentation probes, learned as by `segment`.

    Args:
        train: the images to learn from.
        layers: some of the prepared layers.
        concepts: the columns of the concepts; None for all that some image shows.
        loss: a name in `LOSSES`.
        seed: seed of the initial weights.
    """
    return {layer: segment(train, layer, concepts, loss=loss, seed=seed) for layer in layers}


def _concept_columns(train: PreparedSet, concepts: Sequence[int] | None) -> Int[Tensor, " rows"]:
    shown = train.present.any(0)
    if concepts is None:
        return shown.nonzero()[:, 0]
    concept = torch.as_tensor(concepts)
    missing = [train.concepts[int(column)].name for column in concept if not shown[column]]
    if missing or not len(concept):
        raise InputError(f"no training image shows {missing[0] if missing else 'any concept'!r}")
    return concept


@dataclass(frozen=True)
class _Step:
    """The images of one training step: active units, and pairs of image and probe.

    Attributes:
        units: the active units, position by position.
        starts: where each position begins in `units`.
        image: of each pair, within the step.
        row: the probe of each pair.
        pixels: number of the concept's label pixels in each block, for each pair.
        block_pixels: number of label pixels in each block.
        pixel_weights: weights of the concept's pixels and of all others, for each pair.
        pair_weight: weight of each pair, so that every probe's loss is a mean over images.
        to_rows, to_columns: matrices from positions to blocks.
    """

    units: Tensor
    starts: Tensor
    image: Tensor
    row: Tensor
    pixels: Tensor
    block_pixels: Tensor
    pixel_weights: Tensor
    pair_weight: Tensor
    to_rows: Tensor
    to_columns: Tensor

    def scores(self, weights: Tensor) -> Float[Tensor, "pairs y x"]:
        """Return the mean sum in each block, for each pair; `weights` is (units, rows)."""
        sums = functional.embedding_bag(self.units, weights, self.starts, mode="sum")
        height, width = self.to_rows.shape[1], self.to_columns.shape[1]
        maps = sums.view(-1, height * width, weights.shape[1]).transpose(1, 2)
        maps = maps[self.image, self.row].view(-1, height, width)
        return self.to_rows @ (maps @ self.to_columns.T)

    def loss(self, weights: Tensor, loss: Loss) -> Tensor:
        """Sum the losses of all probes; `weights` is (units, rows)."""
        scores, on = self.scores(weights), self.pixels.float()
        losses = loss(scores, on, self.block_pixels - on, self.pixel_weights).sum((1, 2))
        return (losses * self.pair_weight).sum()


def _steps(
    train: PreparedSet, bits: BinaryActivations, concept: Tensor, batch: int
) -> Iterator[_Step]:
    masks = train.masks
    to_rows, to_columns = (block_mean_matrix(axis, masks.block_size) for axis in bits.grid)
    for indices in batches(train.data, batch):
        pairs = masks.pairs_of(indices)
        pair, row = match_probes(masks.concept[pairs], concept, len(train.concepts))
        if not len(row):
            continue
        active = bits.active(indices).reshape(-1, bits.units)
        position, units = active.nonzero()
        yield _Step(
            units=torch.from_numpy(units),
            starts=torch.from_numpy(np.searchsorted(position, np.arange(len(active)))),
            image=masks.image[pairs][pair] - indices[0],
            row=row,
            pixels=masks.pixels[pairs][pair],
            block_pixels=masks.block_pixels,
            pixel_weights=train.pixel_weights[masks.concept[pairs][pair]],
            pair_weight=1 / row.bincount(minlength=len(concept))[row],
            to_rows=to_rows,
            to_columns=to_columns,
        )


def match_probes(
    shown: Int[Tensor, " pairs"], concept: Int[Tensor, " rows"], concepts: int
) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Return all matches of a pair of image and concept with a probe of that concept.

    Args:
        shown: the concept of each pair.
        concept: the concept of each probe.
        concepts: number of concepts.
    """
    order, number = concept.argsort(stable=True), concept.bincount(minlength=concepts)
    first = number.cumsum(0) - number
    pair = torch.arange(len(shown)).repeat_interleave(number[shown])
    before = (number[shown].cumsum(0) - number[shown])[pair]
    return pair, order[first[shown][pair] + torch.arange(len(pair)) - before]


def set_iou(data: PreparedSet, layer: str, probes: Probes, *, batch: int = 64) -> Tensor:
    """Return (rows,): each probe's IoU over the images that show its concept, 0 to 1.

    Pixels are counted at label resolution and summed over the images.

    Args:
        data: the images to score on.
        layer: the layer of the probes.
        probes: the probes to score.
        batch: images per batch; affects only time and memory.
    """
    bits, numbers = data[layer], [concept.number for concept in data.concepts]
    intersection, union = torch.zeros(2, len(probes), dtype=torch.int64)
    for indices in batches(data.data, batch):
        pairs = data.masks.pairs_of(indices)
        image, concept = data.masks.image[pairs] - indices[0], data.masks.concept[pairs]
        pair, row = match_probes(concept, probes.concept, len(data.concepts))
        labels = data.data.label_maps(indices)
        truth = label_masks(labels, image.numpy(), concept.numpy(), numbers)
        maps = torch.from_numpy(bits.maps(indices)) @ probes.weights.T
        for chunk in torch.arange(len(pair)).split(CHUNK_MASKS):
            pair_of, rows = pair[chunk], row[chunk]
            scores = upsample(maps[image[pair_of], :, :, rows][:, None], bits.grid)[:, 0]
            mask, target = scores > -probes.bias[rows, None, None], truth[pair_of]
            intersection.index_add_(0, rows, (mask & target).sum((1, 2)))
            union.index_add_(0, rows, (mask | target).sum((1, 2)))
    return intersection.double() / union.clamp(min=1)


def masks(
    data: PreparedSet, layer: str, probes: Probes, indices: Sequence[int]
) -> Bool[Tensor, "rows n y x"]:
    """Return the masks of all probes on images, at label resolution.

    Args:
        data: the prepared set.
        layer: the layer of the probes.
        probes: the probes.
        indices: indices of the images.
    """
    maps = torch.from_numpy(data[layer].maps(indices)) @ probes.weights.T
    scores = upsample(maps.permute(3, 0, 1, 2), data[layer].grid)
    return scores > -probes.bias[:, None, None, None]
