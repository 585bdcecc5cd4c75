"""Net2Vec (Fong and Vedaldi 2018): concepts as combinations of a layer's units.

Is a concept in one unit or in many? Every concept gets a vector of weights over the units of a
layer, learned to cover the concept's pixels (segmentation) or to tell whether a picture shows it
(classification), and is compared with the single best unit. Unlike in network dissection,
activations are thresholded before they are upsampled, maps are stretched over the picture instead
of anchored at receptive fields, only pictures that show the concept count, and what is learned or
chosen on training pictures is scored on others.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Bool, Float
from .filters import BestFilters
from .prepare import PreparedSet
from .segment import Probes

STEPS = 150  # of Adam, over all pictures at once
LEARNING_RATE = 0.05
WEIGHT_DECAY = 1e-2  # of half the squared weights, added to a loss whose chance level is log 2


def classify(
    train: PreparedSet,
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
    weigh = _balanced_weights(train.present)[:, concept]
    allowed = torch.ones(len(concept), pooled.shape[1]) if keep is None else keep.float()
    weights = nn.Parameter(torch.zeros_like(allowed))
    bias = nn.Parameter(torch.zeros(len(concept)))
    optimizer = torch.optim.Adam([weights, bias], LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        odds = functional.linear(pooled, weights * allowed, bias)
        loss = functional.binary_cross_entropy_with_logits(odds, wanted, weigh, reduction="sum")
        (loss + WEIGHT_DECAY / 2 * weights.square().sum()).backward()
        optimizer.step()
    return Probes(weights.detach() * allowed, bias.detach(), concept)


def _balanced_weights(present: Bool[Tensor, "n concepts"]) -> Float[Tensor, "n concepts"]:
    """Weights that sum to one half over the pictures with a concept, and over those without."""
    number = present.sum(0).float()
    without = len(present) - number
    return torch.where(present, 0.5 / number.clamp(min=1), 0.5 / without.clamp(min=1))


def balanced_accuracy(data: PreparedSet, layer: str, probes: Probes) -> Float[Tensor, " rows"]:
    """Return how well probes tell pictures with a concept from those without; 0.5 is chance.

    The mean of the shares told rightly among those with it and among those without.
    """
    odds = functional.linear(data[layer].pooled, probes.weights, probes.bias)
    right = (odds > 0) == data.present[:, probes.concept]
    return (right * _balanced_weights(data.present)[:, probes.concept]).sum(0)


def best_thresholds(
    train: PreparedSet, validation: PreparedSet, layer: str, concepts: Sequence[int]
) -> BestFilters:
    """Choose the single unit, sign and level that tell a concept best; score them by accuracy."""
    pooled, present = train[layer].pooled, train.present[:, list(concepts)]
    signed = torch.where(present, 1.0, -1.0) * _balanced_weights(train.present)[:, list(concepts)]
    found = [_best_cut(values, signed) for values in pooled.T]
    gain, level, sign = (torch.stack(part) for part in zip(*found, strict=True))
    unit = gain.argmax(0)
    rows = torch.arange(len(unit))
    weights = torch.zeros(len(unit), pooled.shape[1])
    weights[rows, unit] = sign[unit, rows]
    probes = Probes(weights, -(sign * level)[unit, rows], torch.as_tensor(concepts))
    return BestFilters(unit, gain[unit, rows] + 0.5, balanced_accuracy(validation, layer, probes))


def _best_cut(
    values: Float[Tensor, " n"], signed: Float[Tensor, "n concepts"]
) -> tuple[Tensor, Tensor, Tensor]:
    """One unit's best accuracy above chance for each concept, where to cut, and which side."""
    rising, order = values.sort()
    below = signed[order].cumsum(0)[:-1]
    below = below.masked_fill((rising[1:] == rising[:-1])[:, None], 0)
    gain, cut = below.abs().max(0)
    sign = -below.gather(0, cut[None])[0].sign()
    return gain, (rising[cut] + rising[cut + 1]) / 2, sign
