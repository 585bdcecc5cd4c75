"""What one asks of pictures drawn through a generator: which prior, how likely, how unlike."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...core import Float, Images, image_metrics
from ...models import Model
from .. import evaluation
from .render import Rendering


class GeneratedQuality(NamedTuple):
    """What is said of a set of pictures, each number a mean over them.

    Attributes:
        activation: what the units they were made for answer.
        naturalness: see `core.measures.naturalness`, 0 to 1.
        distance: to the nearest real picture, see `judging.distance_to_real`; real ones: 1.
        recognised: share whose class the judge names; NaN where it does not know the classes.
    """

    activation: float
    naturalness: float
    distance: float
    recognised: float

    def __str__(self) -> str:
        """A few short lines, for a figure."""
        lines = [
            f"activation {self.activation:.0f}",
            f"natural {self.naturalness:.2f}",
            f"distance {self.distance:.2f}",
        ]
        if self.recognised == self.recognised:  # not NaN
            lines.append(f"recognised {self.recognised:.0%}")
        return "\n".join(lines)


def evaluate(
    judge: Model,
    images: Images,
    activations: Float[Tensor, " n"],
    classes: Sequence[str],
    real: Float[Tensor, "m 3 h w"],
) -> GeneratedQuality:
    """Say how natural pictures are, and whether a network that took no part names their class.

    Args:
        judge: that network.
        images: pictures in [0, 1].
        activations: of the units they were made for.
        classes: the class of each.
        real: pictures of a data set, of the same size.
    """
    images, recognised = images.cpu(), float("nan")
    if evaluation.has_classes(judge, classes):
        recognised = evaluation.fraction_recognized(judge, images, classes)
    return GeneratedQuality(
        float(activations.mean()),
        float(image_metrics.naturalness(images, real).mean()),
        float(evaluation.distance_to_real(judge, images, real).mean()),
        recognised,
    )


@torch.no_grad()
def class_probabilities(model: Model, drawing: Rendering) -> Float[Tensor, " n"]:
    """Return how probable a network finds the class that each picture was drawn for."""
    wanted = torch.tensor([int(target.rpartition(":")[2]) for target in drawing.targets])
    scores = model(drawing.images.to(model.device)).cpu()
    return scores.softmax(1)[torch.arange(len(wanted)), wanted]


def saturation(history: Float[Tensor, "steps n"], share: float = 0.5) -> float:
    """Return how much of its last activation an ascent has after a share of its steps, the mean."""
    then = history[round(share * (len(history) - 1))]
    return float((then / history[-1]).mean())
