"""Quality and diversity of generated images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, features, image_metrics, not_found, passes_missing, ratio
from ...core.optimization import objectives
from ...core.statistics import TopK
from ...data import ImageSet
from ...models import Model, load, shipped
from .. import evaluation
from ..activation_maximization import Rendering
from .codes import IMAGE_LOSS_ONLY


class GeneratedQuality(NamedTuple):
    """Quality of a set of images; each number is a mean over them.

    Attributes:
        activation: activation of the units that the images maximize.
        naturalness: see `core.image_metrics.naturalness`, 0 to 1.
        distance: to the nearest real image, see `evaluation.distance_to_real`; 1 for real images;
            NaN without an independent classifier.
        recognized: fraction of images that an independent classifier assigns to their class; NaN
            without one, or if it does not have the classes.
    """

    activation: float
    naturalness: float
    distance: float
    recognized: float


@dataclass(frozen=True)
class QualityTable:
    """Images of the same classes that were made in several ways, and their quality.

    Attributes:
        classes: the intended class of each image.
        renderings: way -> images, of these classes first.
        quality: way -> their quality.
    """

    classes: Sequence[str]
    renderings: Mapping[str, Rendering]
    quality: Mapping[str, GeneratedQuality]

    def difference(self, quantity: str, first: str, second: str) -> float | None:
        """Return the quantity of the first way minus that of the second; None if there is none.

        Args:
            quantity: an attribute of `GeneratedQuality`.
            first: a way.
            second: another way.
        """
        if not {first, second} <= self.quality.keys():
            return None
        change = getattr(self.quality[first], quantity) - getattr(self.quality[second], quantity)
        return None if change != change else change

    def ratio(self, quantity: str, first: str, second: str) -> float:
        """Return the quantity of the first way over that of the second.

        Args:
            quantity: an attribute of `GeneratedQuality`.
            first: a way.
            second: another way.
        """
        one, other = self.quality[first], self.quality[second]
        return ratio(getattr(one, quantity), getattr(other, quantity))

    def margin(self, quantity: str, way: str, others: Collection[str]) -> float | None:
        """Return the least quantity of other ways minus that of one; None without others.

        Args:
            quantity: an attribute of `GeneratedQuality`.
            way: the way to compare.
            others: the other ways; those that the table lacks are ignored.
        """
        values = [self.difference(quantity, other, way) for other in others]
        return min((value for value in values if value is not None), default=None)


@passes_missing
def compare(
    classifier: Model | None,
    renderings: Mapping[str, Rendering],
    classes: Sequence[str],
    real: Float[Tensor, "m c h w"],
) -> QualityTable:
    """Measure the quality of generated images.

    Args:
        classifier: a network that took no part in making the images; None if there is none.
        renderings: way -> images; the first ones maximize `classes`, any others are ignored.
        classes: the intended class of each image.
        real: images of a dataset, of the same size.
    """
    count = len(classes)
    quality = {
        way: _evaluate(
            classifier, rendering.images[:count], rendering.activations[:count], classes, real
        )
        for way, rendering in renderings.items()
    }
    return QualityTable(classes, renderings, quality)


def _evaluate(
    classifier: Model | None,
    images: Images,
    activations: Float[Tensor, " n"],
    classes: Sequence[str],
    real: Float[Tensor, "m c h w"],
) -> GeneratedQuality:
    images, distance, recognized = images.cpu(), float("nan"), float("nan")
    if classifier:
        distance = float(evaluation.distance_to_real(classifier, images, real).mean())
    if classifier and evaluation.has_classes(classifier, classes):
        recognized = evaluation.fraction_recognized(classifier, images, classes)
    naturalness = float(image_metrics.naturalness(images, real).mean())
    return GeneratedQuality(float(activations.mean()), naturalness, distance, recognized)


@passes_missing
def recognition_gain(
    classifier: Model | None, first: Rendering, second: Rendering, classes: Sequence[str]
) -> float | None:
    """Return the fraction of images recognized in one rendering minus that in another.

    Args:
        classifier: an independent classifier; None if there is none.
        first: images of the classes.
        second: other images of the classes.
        classes: the intended class of each image.

    Returns:
        The difference; None without a classifier that has the classes.
    """
    if not classifier or not evaluation.has_classes(classifier, classes):
        return None
    own, other = (
        evaluation.fraction_recognized(classifier, rendering.images, classes)
        for rendering in (first, second)
    )
    return own - other


def class_probabilities(model: Model, rendering: Rendering) -> Float[Tensor, " n"]:
    """Return the probability that a network assigns to the intended class of each image."""
    classes = objectives.parse_targets(rendering.targets)[1]
    scores = features.predict(model, rendering.images)
    return scores.softmax(1)[torch.arange(len(classes)), classes]


@passes_missing
def saturation(history: Float[Tensor, "steps n"], fraction: float = 0.5) -> float:
    """Return the mean ratio of the activation after a fraction of the steps to the final one."""
    partial = history[round(fraction * (len(history) - 1))]
    return float((partial / history[-1]).mean())


@passes_missing
def sharpness_ratio(
    images: Mapping[str, Float[Tensor, "n c h w"]], generator: str, other: str = IMAGE_LOSS_ONLY
) -> float | None:
    """Return the mean absolute gradient of one generator's images over that of another's.

    Args:
        images: images by name of the generator.
        generator: the generator to compare.
        other: the generator to compare with.

    Returns:
        The ratio; None if the other generator made no images.
    """
    if other not in images:
        return None
    own, others = (
        float(image_metrics.mean_abs_gradient(images[name]).mean()) for name in (generator, other)
    )
    return ratio(own, others)


@dataclass(frozen=True)
class SampleSets:
    """Images of one class from several starts, by several methods.

    Attributes:
        images: method -> its images; "real images" for those of the dataset.
        distances: method -> mean distance between its images, relative to that between any two
            images of the dataset.
        pulled: weight of the prior on codes -> images of a walk.
        probabilities: weight of the prior on codes -> mean probability of the class.
    """

    images: Mapping[str, Tensor]
    distances: Mapping[str, float]
    pulled: Mapping[float, Tensor]
    probabilities: Mapping[float, float]

    def distance_ratio(self, first: str, second: str) -> float:
        """Return the distance between one method's images over that between another's."""
        return ratio(self.distances[first], self.distances[second])


@passes_missing
def compare_samples(
    model: Model,
    samples: Mapping[str, Rendering],
    pulled: Mapping[float, Rendering],
    top: TopK,
    dataset: ImageSet,
    real: Float[Tensor, "m c rows columns"],
) -> SampleSets:
    """Measure how different images of one class are, and whether walks keep the class.

    Args:
        model: the network that has the class.
        samples: method -> images.
        pulled: weight of the prior on codes -> images of a walk.
        top: the top-activating images of the class layer; as many of the class are compared.
        dataset: the images that `top` counts.
        real: images of the dataset.
    """
    images = {name: rendering.images for name, rendering in samples.items()}
    targets = next(iter(samples.values())).targets
    best = top.images[objectives.parse_target(targets[0])[1], : len(targets)]
    images["real images"] = dataset.batch(best.tolist())
    distance = image_metrics.mean_pairwise_distance
    scale = distance(real)
    return SampleSets(
        images,
        {name: distance(own.cpu()) / scale for name, own in images.items()},
        {weight: walk.images for weight, walk in pulled.items()},
        {weight: float(class_probabilities(model, walk).mean()) for weight, walk in pulled.items()},
    )


def class_targets(model: Model, classes: Sequence[str]) -> list[str]:
    """Return the target "logits:n" of each class.

    Raises:
        NameNotFound: a class that the network does not have.
    """
    known = list(model.card.classes)
    for name in classes:
        if name not in known:
            raise not_found(f"class of {model.card.name}", name, known)
    return [f"logits:{known.index(name)}" for name in classes]


@passes_missing
def others_with_classes(
    model: Model, classes: Sequence[str], names: Sequence[str] = ("zfnet_mini",)
) -> dict[str, Model]:
    """Load shipped networks other than a given one, if they have its classes.

    Args:
        model: the given network.
        classes: names of the classes.
        names: the shipped networks.
    """
    others = (name for name in names if name != model.card.name)
    return {
        name: load(name, device=str(model.device))
        for name in others
        if {*classes} <= {*shipped()[name]["classes"]}
    }
