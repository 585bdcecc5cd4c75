"""Classification probes: predict from pooled activations whether an image shows a concept."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Bool, Float, with_gradients
from .filters import BestFilters
from .prepare import PreparedSet
from .segment import Probes

STEPS = 150  # of Adam, each on all images
LEARNING_RATE = 0.05
WEIGHT_DECAY = 1e-2  # weight of half the squared norm, added to a loss whose chance level is log 2


@with_gradients
def classify(
    train: PreparedSet,
    layer: str,
    concepts: Sequence[int],
    *,
    allowed: Bool[Tensor, "rows units"] | None = None,
) -> Probes:
    """Learn to predict, for every concept, whether an image shows it.

    Each probe is a logistic regression on the layer's pooled activations; all are learned together.
    Images with and without the concept have the same total weight. The released program instead
    draws as many images without the concept as with it, and takes small steps on batches of 64;
    here every step uses all images.

    Args:
        train: the images to learn from.
        layer: the layer.
        concepts: the column of each probe's concept.
        allowed: the units that each probe may use; None for all.
    """
    pooled, concept = train[layer].pooled, torch.as_tensor(concepts)
    targets = train.present[:, concept].float()
    image_weights = _balanced_weights(train.present)[:, concept]
    mask = torch.ones(len(concept), pooled.shape[1]) if allowed is None else allowed.float()
    weights = nn.Parameter(torch.zeros_like(mask))
    bias = nn.Parameter(torch.zeros(len(concept)))
    optimizer = torch.optim.Adam([weights, bias], LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = functional.linear(pooled, weights * mask, bias)
        loss = functional.binary_cross_entropy_with_logits(
            logits, targets, image_weights, reduction="sum"
        )
        (loss + WEIGHT_DECAY / 2 * weights.square().sum()).backward()
        optimizer.step()
    return Probes(weights.detach() * mask, bias.detach(), concept)


def _balanced_weights(present: Bool[Tensor, "n concepts"]) -> Float[Tensor, "n concepts"]:
    """Return weights that sum to 1/2 over the images with a concept, and over those without."""
    images = present.sum(0).float()
    without = len(present) - images
    return torch.where(present, 0.5 / images.clamp(min=1), 0.5 / without.clamp(min=1))


def balanced_accuracy(data: PreparedSet, layer: str, probes: Probes) -> Float[Tensor, " rows"]:
    """Return the accuracy of classification probes, with chance level 0.5.

    This is the mean of two accuracies: on images with the concept and on images without it.

    Args:
        data: the images to score on.
        layer: the layer of the probes.
        probes: the probes to score.
    """
    logits = functional.linear(data[layer].pooled, probes.weights, probes.bias)
    correct = (logits > 0) == data.present[:, probes.concept]
    return (correct * _balanced_weights(data.present)[:, probes.concept]).sum(0)


def best_thresholds(
    train: PreparedSet, validation: PreparedSet, layer: str, concepts: Sequence[int]
) -> BestFilters:
    """Choose the single unit, sign and threshold that best classify each concept.

    Args:
        train: the images on which to choose, by balanced accuracy.
        validation: the images on which to score, by the same measure.
        layer: the layer.
        concepts: the columns of the concepts.
    """
    pooled, present = train[layer].pooled, train.present[:, list(concepts)]
    signed = torch.where(present, 1.0, -1.0) * _balanced_weights(train.present)[:, list(concepts)]
    cuts = [_best_cut(values, signed) for values in pooled.T]
    gain, level, sign = (torch.stack(part) for part in zip(*cuts, strict=True))
    unit, rows = gain.argmax(0), torch.arange(len(concepts))
    weights = torch.zeros(len(unit), pooled.shape[1])
    weights[rows, unit] = sign[unit, rows]
    probes = Probes(weights, -(sign * level)[unit, rows], torch.as_tensor(concepts))
    score = balanced_accuracy(validation, layer, probes)
    return BestFilters(unit, gain[unit, rows] + 0.5, score)


def _best_cut(
    values: Float[Tensor, " n"], signed: Float[Tensor, "n concepts"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return one unit's best accuracy above chance for each concept, its threshold, and its sign.

    Args:
        values: pooled activation of the unit on each image.
        signed: weight of each image, positive if it shows the concept.
    """
    increasing, order = values.sort()
    below = signed[order].cumsum(0)[:-1]
    below = below.masked_fill((increasing[1:] == increasing[:-1])[:, None], 0)
    gain, cut = below.abs().max(0)
    sign = -below.gather(0, cut[None])[0].sign()
    return gain, (increasing[cut] + increasing[cut + 1]) / 2, sign
