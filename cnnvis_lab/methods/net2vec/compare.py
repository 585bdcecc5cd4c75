"""Combinations of filters compared with the best single filters, over all concepts and layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, ratio
from ...data import Label
from .classify import balanced_accuracy, best_thresholds
from .filters import BestFilters
from .prepare import PreparedSet
from .segment import Probes, set_iou

SINGLE = "best single filter"
CLASSIFIED = "combination"


@dataclass(frozen=True)
class ScoreTable:
    """How well concepts are detected, on images that nothing was learned from.

    Attributes:
        concepts: the scored concepts.
        scores: what detects the concepts ("best single filter", or a kind of combination) -> layer
            -> the score of each concept.
    """

    concepts: tuple[Label, ...]
    scores: Mapping[str, Mapping[str, Float[Tensor, " concepts"]]]

    def means(self, kind: str) -> list[float]:
        """Return the mean score over all concepts in each layer."""
        return [float(values.mean()) for values in self.scores[kind].values()]

    def mean(self, kind: str, layer: str) -> float:
        """Return the mean score over all concepts in a layer."""
        return float(self.scores[kind][layer].mean())

    def gain(self, kind: str, layer: str) -> Float[Tensor, " concepts"]:
        """Return the score of each combination minus that of the best single filter."""
        return self.scores[kind][layer] - self.scores[SINGLE][layer]

    def fraction_better(self, kind: str, layer: str) -> float:
        """Return the fraction of concepts that a combination detects better than one filter."""
        return float((self.gain(kind, layer) > 0).double().mean())

    def ratio(self, kind: str, layer: str) -> float:
        """Return the mean score of combinations divided by that of the best single filters."""
        return self.mean(kind, layer) / max(self.mean(SINGLE, layer), 1e-9)

    def smallest_gain(self) -> float:
        """Return the smallest mean gain of `CLASSIFIED` combinations of all layers."""
        return min(float(self.gain(CLASSIFIED, layer).mean()) for layer in self.scores[CLASSIFIED])

    def relative_difference(self, kind: str, base: str) -> float:
        """Return by what fraction the mean over layers and concepts differs from that of `base`."""
        total = sum(self.means(base))
        return ratio(abs(sum(self.means(kind)) - total), total)

    def category_means(self, layers: Sequence[str]) -> dict[str, list[Tensor]]:
        """Return category -> the mean score of `CLASSIFIED` combinations in each of some layers."""
        grouped = [by_category(self.concepts, self.scores[CLASSIFIED][layer]) for layer in layers]
        return {name: [values[name].mean() for values in grouped] for name in grouped[0]}

    def rises(self, categories: Sequence[str], layers: Sequence[str]) -> dict[str, float]:
        """Return the mean accuracy in the last of some layers minus that in the first.

        Args:
            categories: those without concepts are left out.
            layers: from the lowest to the last.
        """
        means = self.category_means(layers)
        return {
            name: float(means[name][-1] - means[name][0]) for name in categories if name in means
        }

    def lead_below(self, category: str, layers: Sequence[str]) -> float | None:
        """Return the best mean accuracy of a category below the last layer, minus that in it.

        Args:
            category: such as "color".
            layers: from the lowest to the last.

        Returns:
            The difference; None for a single layer, or without concepts of this category.
        """
        *below, last = map(float, self.category_means(layers).get(category, [0]))
        return max(below) - last if below else None


def by_category(concepts: Sequence[Label], values: Tensor) -> dict[str, Tensor]:
    """Group values by category; `values` is (concepts, ...)."""
    categories = [concept.category for concept in concepts]
    return {
        category: values[torch.tensor([other == category for other in categories])]
        for category in dict.fromkeys(categories)
    }


def compare_segmentation(
    validation: PreparedSet,
    combinations: Mapping[str, Mapping[str, Probes]],
    single: Mapping[str, BestFilters],
) -> ScoreTable:
    """Score combinations and single filters by IoU on the images that show each concept.

    Args:
        validation: the images to score on.
        combinations: name -> layer -> probes, such as those of each loss; all of the same concepts.
        single: layer -> the best filters for these concepts.
    """
    scores = {
        name: {layer: set_iou(validation, layer, probes) for layer, probes in by_layer.items()}
        for name, by_layer in combinations.items()
    }
    scores[SINGLE] = {layer: best.score for layer, best in single.items()}
    probes = next(iter(next(iter(combinations.values())).values()))
    return ScoreTable(validation.labels_of(probes.concept), scores)


def compare_classification(
    train: PreparedSet, validation: PreparedSet, probes: Mapping[str, Probes]
) -> ScoreTable:
    """Score combinations, and the best threshold on a single filter, by balanced accuracy.

    Args:
        train: the images on which the filter and its threshold are chosen.
        validation: the images to score on.
        probes: layer -> classification probes, all of the same concepts.
    """
    concept = next(iter(probes.values())).concept
    combined = {layer: balanced_accuracy(validation, layer, own) for layer, own in probes.items()}
    single = {
        layer: best_thresholds(train, validation, layer, concept.tolist()).score for layer in probes
    }
    return ScoreTable(validation.labels_of(concept), {CLASSIFIED: combined, SINGLE: single})
