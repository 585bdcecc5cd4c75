"""Net2Vec (Fong and Vedaldi 2018): concepts as combinations of a layer's units.

Is a concept in one unit or in many? Every concept gets a vector of weights over the units of a
layer, learned to cover the concept's pixels (segmentation) or to tell whether a picture shows it
(classification), and is compared with the single best unit. Unlike in network dissection,
activations are thresholded before they are upsampled, maps are stretched over the picture instead
of anchored at receptive fields, only pictures that show the concept count, and what is learned or
chosen on training pictures is scored on others.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import InputError
from ..core.shapes import Bool, Float, Int
from .dissection_counts import Counts, truth
from .dissection_masks import active, cells_above
from .net2vec_bits import Prepared, in_turn, prepare
from .net2vec_probe import LOSSES, RECIPES, Probes, Recipe, masks, segment, set_iou

__all__ = [
    "LOSSES",
    "RECIPES",
    "Best",
    "Prepared",
    "Probes",
    "Recipe",
    "accuracy",
    "best_filters",
    "best_switches",
    "classify",
    "filter_iou",
    "largest",
    "masks",
    "one_hot",
    "prepare",
    "segment",
    "set_iou",
    "subsets",
    "usable",
]

CLASSIFY_STEPS = 150  # of Adam, over all pictures at once
CLASSIFY_RATE = 0.05
CLASSIFY_DECAY = 1e-2  # of half the squared weights, added to a loss whose chance level is log 2


class Best(NamedTuple):
    """The single unit that serves each concept best: chosen on training pictures, scored on others.

    Attributes:
        unit: (concepts,) the unit.
        train: (concepts,) its score where it was chosen.
        score: (concepts,) its score on the other pictures.
    """

    unit: Int[Tensor, " concepts"]
    train: Float[Tensor, " concepts"]
    score: Float[Tensor, " concepts"]


def usable(
    train: Prepared, validation: Prepared, *, least: int = 5, masked: bool = True
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


def filter_iou(data: Prepared, layer: str, *, batch: int = 64) -> Float[Tensor, "units concepts"]:
    """Return the IoU of every single unit with every concept, over the pictures that show it.

    A unit's mask is where its upsampled bits exceed one half.

    Source: Fong and Vedaldi 2018; the released labelprobe_pytorch.py.
    """
    bits = data[layer]
    counts = Counts({layer: bits.units}, data.concepts, "concept")
    half = np.full(bits.units, 0.5, dtype=np.float32)
    for pictures in in_turn(data.data, batch):
        shown = truth(data.data.label_maps(pictures).numpy(), counts.numbers)
        counts.add_truth(shown)
        cells = cells_above(bits.maps(pictures), half)
        counts.add_masks(layer, active(cells, bits.grid, half, binary=True), shown)
    both, area = (counts.sums[f"{layer}.{name}"] for name in ("both", "area"))
    union = area + counts.sums["pixels"][1:] - both[:, 1:]
    return both[:, 1:].double() / union.clamp(min=1)


def best_filters(train: Prepared, validation: Prepared, layer: str) -> Best:
    """Choose each concept's best single unit on one set and score it on another, by IoU."""
    chosen, unit = filter_iou(train, layer).max(0)
    return Best(unit, chosen, filter_iou(validation, layer).gather(0, unit[None])[0])


def one_hot(
    data: Prepared, layer: str, best: Int[Tensor, " rows"], concept: Sequence[int]
) -> Probes:
    """Return probes that are single units; their masks are the units' own."""
    weights = functional.one_hot(best, data[layer].units).float()
    return Probes(weights, torch.full((len(best),), -0.5), torch.as_tensor(concept))


def largest(probes: Probes, count: int) -> Bool[Tensor, "rows units"]:
    """Say which units have the `count` largest weights of each probe.

    Raises:
        InputError: more units than there are, or none.
    """
    if not 1 <= count <= probes.weights.shape[1]:
        raise InputError(f"{count} filters of {probes.weights.shape[1]}: expected at least 1")
    chosen = probes.weights.abs().topk(count, dim=1).indices
    return torch.zeros_like(probes.weights, dtype=torch.bool).scatter_(1, chosen, True)


def subsets(
    learn: Callable[..., Probes],
    train: Prepared,
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
    keep = torch.cat([largest(whole, size) for size in sizes])
    concepts = whole.concept.repeat(len(sizes)).tolist()
    learned, rows = learn(train, layer, concepts, keep=keep, **knobs), len(whole)
    return [learned.rows(slice(i * rows, (i + 1) * rows)) for i in range(len(sizes))]


def classify(
    train: Prepared,
    layer: str,
    concepts: Sequence[int],
    *,
    keep: Bool[Tensor, "rows units"] | None = None,
) -> Probes:
    """Learn, for every concept, whether a picture shows it from the layer's pooled activations.

    A logistic regression for each row, all together. Pictures with and without the concept weigh
    the same in sum. The released program draws as many without as there are with, and takes small
    steps in batches of 64; here all pictures are taken at once.

    Args:
        train: the pictures to learn from.
        layer: the layer.
        concepts: the column of each probe's concept.
        keep: the units that each probe may use; None for all.
    """
    pooled, concept = train[layer].pooled, torch.as_tensor(concepts)
    wanted = train.present[:, concept].float()
    weigh = _balanced(train.present)[:, concept]
    allowed = torch.ones(len(concept), pooled.shape[1]) if keep is None else keep.float()
    weights = nn.Parameter(torch.zeros_like(allowed))
    bias = nn.Parameter(torch.zeros(len(concept)))
    optimizer = torch.optim.Adam([weights, bias], CLASSIFY_RATE)
    for _ in range(CLASSIFY_STEPS):
        optimizer.zero_grad()
        odds = functional.linear(pooled, weights * allowed, bias)
        loss = functional.binary_cross_entropy_with_logits(odds, wanted, weigh, reduction="sum")
        (loss + CLASSIFY_DECAY / 2 * weights.square().sum()).backward()
        optimizer.step()
    return Probes(weights.detach() * allowed, bias.detach(), concept)


def _balanced(present: Bool[Tensor, "n concepts"]) -> Float[Tensor, "n concepts"]:
    """Weights that sum to one half over the pictures with a concept, and over those without."""
    number = present.sum(0).float()
    without = len(present) - number
    return torch.where(present, 0.5 / number.clamp(min=1), 0.5 / without.clamp(min=1))


def accuracy(data: Prepared, layer: str, probes: Probes) -> Float[Tensor, " rows"]:
    """Return how well probes tell pictures with a concept from those without; 0.5 is chance.

    The mean of the shares told rightly among those with it and among those without.
    """
    odds = functional.linear(data[layer].pooled, probes.weights, probes.bias)
    right = (odds > 0) == data.present[:, probes.concept]
    return (right * _balanced(data.present)[:, probes.concept]).sum(0)


def best_switches(
    train: Prepared, validation: Prepared, layer: str, concepts: Sequence[int]
) -> Best:
    """Choose the single unit, sign and level that tell a concept best; score them by accuracy."""
    pooled, present = train[layer].pooled, train.present[:, list(concepts)]
    signed = torch.where(present, 1.0, -1.0) * _balanced(train.present)[:, list(concepts)]
    found = [_best_level(values, signed) for values in pooled.T]
    gain, level, sign = (torch.stack(part) for part in zip(*found, strict=True))
    unit = gain.argmax(0)
    rows = torch.arange(len(unit))
    weights = torch.zeros(len(unit), pooled.shape[1])
    weights[rows, unit] = sign[unit, rows]
    probes = Probes(weights, -(sign * level)[unit, rows], torch.as_tensor(concepts))
    return Best(unit, gain[unit, rows] + 0.5, accuracy(validation, layer, probes))


def _best_level(
    values: Float[Tensor, " n"], signed: Float[Tensor, "n concepts"]
) -> tuple[Tensor, Tensor, Tensor]:
    """One unit's best accuracy above chance for each concept, where to cut, and which side."""
    rising, order = values.sort()
    below = signed[order].cumsum(0)[:-1]
    below = below.masked_fill((rising[1:] == rising[:-1])[:, None], 0)
    gain, cut = below.abs().max(0)
    sign = -below.gather(0, cut[None])[0].sign()
    return gain, (rising[cut] + rising[cut + 1]) / 2, sign
