"""Images of concept vectors, by inversion of the activations that a vector represents.

A vector w is learned on the bits [A_k > T_k]. For activations these are replaced by A_k / T_k,
which is also 1 at the threshold. Inversion with the inner product (Mahendran and Vedaldi 2016) then
finds an image that maximizes the sum of w_k A_k / T_k in the center of the map, as far as the prior
allows. Units of negative weight are suppressed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import eq

import torch
from torch import Tensor

from ...core import Float, Images, InputError, with_gradients
from ...core.optimization import Options
from ...models import Model
from .. import evaluation
from ..inversion import Recipe, invert, spectral
from .prepare import PreparedSet
from .segment import Probes

STEPS = 80
GRAY_STD = 0.01  # standard deviation of the pixels below which an image counts as gray
CENTER_WIDTH = 1 / 6  # standard deviation of the weights around the center, relative to map size


def inversion_recipe(steps: int = STEPS, *, leak: float = 0.0) -> Recipe:
    """Return the recipe for vectors: this project's recipe for codes, with a smoother prior.

    The prior has to limit the inner product, which is unbounded.

    Args:
        steps: number of optimization steps.
        leak: negative slope of the leaky backward rule in the first tenth of the steps. It
            activates the same units for every vector, which makes images more similar.

    Source: this project; the constants were chosen by eye on objects and parts.
    """
    plain = spectral(
        steps,
        variation=20.0,
        variation_deeper=0.0,
        gray=1.0,
        gray_deeper=0.0,
        leak=leak,
        leaky_fraction=0.1,
    )
    return replace(plain, jitter=(0.5,), loss="inner")


def target_codes(data: PreparedSet, layer: str, probes: Probes) -> Float[Tensor, "rows units h w"]:
    """Return vectors as target activations of a layer, concentrated in the center of the map.

    Thresholds below the layer's median are replaced by the median, because a rarely active unit has
    a threshold near zero, and would otherwise dominate the sum.

    Args:
        data: the prepared set, for its thresholds.
        layer: the layer.
        probes: the concept vectors.
    """
    bits = data[layer]
    scaled = probes.weights / bits.thresholds.clamp(min=float(bits.thresholds.median()))
    # Scaled so that an image that brings all units of positive weight to their threshold scores 1.
    size = probes.weights.clamp(min=0).sum(1) / scaled.square().sum(1).clamp(min=1e-12)
    return (size[:, None] * scaled)[:, :, None, None] * _center_weights(bits.shape)


def largest_example(data: PreparedSet, concept: int) -> Float[Tensor, "c h w"]:
    """Return the image in which a concept, given by its column, covers the largest area.

    Raises:
        InputError: no image shows it.
    """
    shows_it = data.masks.concept == concept
    if not shows_it.any():
        raise InputError(f"no image shows {data.concepts[concept].name!r}")
    pair = data.masks.fraction.masked_fill(~shows_it, -1).argmax()
    return data.data.batch([int(data.masks.image[pair])])[0]


def rows_to_invert(
    classifier: Model | None, data: PreparedSet, probes: Probes, first: Sequence[str]
) -> list[int]:
    """Return the rows of objects for which another network has a class, or the first 8 if none.

    Args:
        classifier: the other network; None for none.
        data: the prepared set, for the concepts' names.
        probes: the concept vectors.
        first: names of objects whose rows come first.
    """
    concepts = data.labels_of(probes.concept)
    rows = [
        row
        for row, concept in enumerate(concepts)
        if concept.category == "object" and classifier and concept.name in classifier.card.classes
    ]
    rows = sorted(rows, key=lambda row: concepts[row].name not in first)
    return rows or list(range(min(8, len(concepts))))


def _center_weights(shape: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Return a Gaussian over a map, 1 at its center."""
    rows, columns = (
        torch.exp(-((torch.arange(n) - (n - 1) / 2) / (CENTER_WIDTH * n)).square() / 2)
        for n in shape
    )
    return rows[:, None] * columns


@with_gradients
def invert_vectors(
    model: Model,
    data: PreparedSet,
    layer: str,
    probes: Probes,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Images:
    """Return an image for each vector.

    A unit that is inactive on the initial noise has no gradient. Images that stay gray are
    therefore optimized again, with a leaky backward rule in the first steps.

    Args:
        model: the network on which the vectors were learned.
        data: the prepared set.
        layer: the layer.
        probes: the concept vectors.
        steps: number of optimization steps.
        seed: seed of the initial noise, which is the same for every vector.

    Returns:
        (rows, 3, size, size) in [0, 1].

    Source: Fong and Vedaldi 2018 (concept vectors inverted); Mahendran and Vedaldi 2016.
    """
    shape = model.layer_shapes([layer])[layer]
    targets = target_codes(data, layer, probes).reshape(-1, *shape).to(model.device)
    recipe, options = inversion_recipe(steps), Options(seed)
    images = invert(model, {layer: targets}, recipe=recipe, options=options)[layer]
    blank = images.flatten(1).std(1) < GRAY_STD
    if blank.any():
        leaky = inversion_recipe(steps, leak=0.1)
        inactive = {layer: targets[blank]}
        images[blank] = invert(model, inactive, recipe=leaky, options=options)[layer]
    return images.cpu()


@dataclass(frozen=True)
class InvertedConcepts:
    """Images of concepts by their best single filter and by their combination of filters.

    Attributes:
        names: the concepts.
        real: an image that shows each concept.
        single: images for the best filters.
        combination: images for the combinations.
        single_classes: the classes of `single`, by an independent classifier; empty if it lacks a
            class of one of the names.
        combination_classes: the classes of `combination`.
    """

    names: list[str]
    real: list[Tensor]
    single: Images
    combination: Images
    single_classes: list[str]
    combination_classes: list[str]

    def recognized(self) -> dict[str, float]:
        """Return the fraction of images assigned to their concept; empty without classes."""
        kinds = {"single filters": self.single_classes, "combinations": self.combination_classes}
        return {
            kind: sum(map(eq, classes, self.names)) / len(self.names)
            for kind, classes in kinds.items()
            if classes
        }

    def gain(self) -> float | None:
        """Return the fraction recognized for combinations minus that for single filters."""
        fractions = [*self.recognized().values()]
        return fractions[1] - fractions[0] if fractions else None


def invert_concepts(
    model: Model,
    data: PreparedSet,
    layer: str,
    single: Probes,
    combination: Probes,
    *,
    classifier: Model | None,
    steps: int = STEPS,
    seed: int = 0,
) -> InvertedConcepts:
    """Invert single filters and combinations of the same concepts, and classify the images.

    Args:
        model: the network on which the vectors were learned.
        data: the prepared set.
        layer: the layer.
        single: the best filter for each concept.
        combination: the concept vectors.
        classifier: an independent network; None to classify nothing.
        steps: number of optimization steps.
        seed: seed of the initial noise.
    """
    names = [concept.name for concept in data.labels_of(combination.concept)]
    judge = classifier if classifier and evaluation.has_classes(classifier, names) else None
    images = [
        invert_vectors(model, data, layer, probes, steps=steps, seed=seed)
        for probes in (single, combination)
    ]
    return InvertedConcepts(
        names,
        [largest_example(data, column) for column in combination.concept.tolist()],
        *images,
        single_classes=evaluation.predict_names(judge, images[0]) if judge else [],
        combination_classes=evaluation.predict_names(judge, images[1]) if judge else [],
    )
