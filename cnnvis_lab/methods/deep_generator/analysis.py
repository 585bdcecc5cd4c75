"""Quality of generated images: activation, naturalness, distance to real images, recognition."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, features, image_metrics
from ...models import Model
from .. import evaluation
from ..activation_maximization import Rendering


class GeneratedQuality(NamedTuple):
    """Quality of a set of images; each number is a mean over them.

    Attributes:
        activation: activation of the units that the images maximize.
        naturalness: see `core.image_metrics.naturalness`, 0 to 1.
        distance: to the nearest real image, see `evaluation.distance_to_real`; 1 for real images.
        recognized: fraction of images that an independent classifier assigns to their class; NaN if
            it does not have the classes.
    """

    activation: float
    naturalness: float
    distance: float
    recognized: float


def evaluate(
    classifier: Model,
    images: Images,
    activations: Float[Tensor, " n"],
    classes: Sequence[str],
    real: Float[Tensor, "m 3 h w"],
) -> GeneratedQuality:
    """Measure the quality of generated images.

    Args:
        classifier: a network that took no part in making the images.
        images: in [0, 1].
        activations: activation of the unit that each image maximizes.
        classes: the intended class of each image.
        real: images of a dataset, of the same size.
    """
    images, recognized = images.cpu(), float("nan")
    if evaluation.has_classes(classifier, classes):
        recognized = evaluation.fraction_recognized(classifier, images, classes)
    return GeneratedQuality(
        float(activations.mean()),
        float(image_metrics.naturalness(images, real).mean()),
        float(evaluation.distance_to_real(classifier, images, real).mean()),
        recognized,
    )


def class_probabilities(model: Model, rendering: Rendering) -> Float[Tensor, " n"]:
    """Return the probability that a network assigns to the intended class of each image."""
    classes = torch.tensor([int(target.rpartition(":")[2]) for target in rendering.targets])
    scores = features.predict(model, rendering.images)
    return scores.softmax(1)[torch.arange(len(classes)), classes]


def saturation(history: Float[Tensor, "steps n"], fraction: float = 0.5) -> float:
    """Return the mean ratio of the activation after a fraction of the steps to the final one."""
    partial = history[round(fraction * (len(history) - 1))]
    return float((partial / history[-1]).mean())
