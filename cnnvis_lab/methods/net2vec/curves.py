"""How many filters a concept needs: scores of probes that may use few filters only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ...core import Float, Int
from .classify import balanced_accuracy, classify
from .filters import learn_subsets
from .prepare import PreparedSet
from .segment import Probes, segment, set_iou

FRACTION = 0.8  # of its score with all filters, with which a concept counts as encoded


@dataclass(frozen=True)
class FilterCurve:
    """Scores of a layer's concepts by number of filters.

    Attributes:
        counts: numbers of filters, ascending; the last one is the number of all filters.
        scores: the score of each concept with each number of filters.
        chance: the score of a probe that knows nothing: 0 for IoU, 0.5 for accuracy.
    """

    counts: list[int]
    scores: Float[Tensor, "counts concepts"]
    chance: float = 0.0

    def largest_count(self, fraction: float) -> int:
        """Return the largest number of filters that is at most a fraction of all filters."""
        return max(n for n in self.counts if n <= max(fraction * self.counts[-1], 1))

    def fraction_of_full(self, count: int) -> float:
        """Return the mean score above chance with `count` filters, relative to all filters."""
        above = self.scores[self.counts.index(count)].mean() - self.chance
        return float(above / (self.scores[-1].mean() - self.chance))

    def needed(self, fraction: float = FRACTION) -> Int[Tensor, " concepts"]:
        """Return the number of filters with which each concept reaches a fraction of its score.

        Args:
            fraction: of the score above chance with all filters.
        """
        above = self.scores - self.chance
        return torch.tensor(self.counts)[(above >= fraction * above[-1]).int().argmax(0)]

    def mean_fraction_needed(self) -> float:
        """Return the mean over concepts of the number of filters needed, relative to all."""
        return float(self.needed().double().mean()) / self.counts[-1]

    def fraction_reached(self) -> Float[Tensor, " counts"]:
        """Return the fraction of concepts that need no more filters, for each number of them."""
        return (self.needed()[None] <= torch.tensor(self.counts)[:, None]).double().mean(1)


def filter_counts(units: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of all units of a layer."""
    return [*(2**power for power in range(units.bit_length()) if 2**power < units), units]


def segmentation_curve(
    train: PreparedSet,
    validation: PreparedSet,
    layer: str,
    probes: Probes,
    *,
    loss: str = "linear",
    seed: int = 0,
) -> FilterCurve:
    """Return the IoU of probes relearned with the 1, 2, 4, ... filters of largest weight.

    Args:
        train: the images to learn from.
        validation: the images to score on.
        layer: one of the prepared layers.
        probes: segmentation probes learned with all filters.
        loss: the loss by which they were learned.
        seed: the seed with which they were learned.
    """
    learn = partial(segment, loss=loss, seed=seed)
    return FilterCurve(*_relearn(learn, set_iou, train, validation, layer, probes))


def classification_curve(
    train: PreparedSet, validation: PreparedSet, layer: str, probes: Probes
) -> FilterCurve:
    """Return the balanced accuracy of probes relearned with the filters of largest weight.

    Args:
        train: the images to learn from.
        validation: the images to score on.
        layer: one of the prepared layers.
        probes: classification probes learned with all filters.
    """
    relearned = _relearn(classify, balanced_accuracy, train, validation, layer, probes)
    return FilterCurve(*relearned, chance=0.5)


def _relearn(
    learn: Callable[..., Probes],
    score: Callable[[PreparedSet, str, Probes], Tensor],
    train: PreparedSet,
    validation: PreparedSet,
    layer: str,
    probes: Probes,
) -> tuple[list[int], Tensor]:
    counts = filter_counts(train[layer].units)
    subsets = learn_subsets(learn, train, layer, probes, counts)
    return counts, torch.stack([score(validation, layer, subset) for subset in subsets])
