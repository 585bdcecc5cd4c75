"""Invariance: how far features move when images are translated, scaled or rotated."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, Int, choose
from ...core.optimization import transforms
from ...models import Model
from .occlusion import GRAY, respond

ROUNDING = 1e-6  # relative distances up to this one are those of equal features


class Transformation(NamedTuple):
    """A way to transform images.

    Attributes:
        quantity: what the amounts are, with their unit.
        default_amounts: function from the image size in pixels to amounts.
        apply: function (images, amount) -> images of the same size; new pixels are gray.
    """

    quantity: str
    default_amounts: Callable[[int], list[float]]
    apply: Callable[[Images, float], Images]


def _translate(images: Images, amount: float) -> Images:
    down = round(amount)
    return functional.pad(images, (0, 0, down, -down), value=GRAY)


def _scale(images: Images, amount: float) -> Images:
    size = images.shape[-2], images.shape[-1]
    fitted = transforms.compose(transforms.scale((amount,)), transforms.fit(size))
    return fitted(images, torch.Generator())


def _rotate(images: Images, amount: float) -> Images:
    return transforms.rotate((amount,))(images, torch.Generator())


# Default amounts: up to a quarter of the image up and down, 0.6 to 1.6 times its size, a full turn.
TRANSFORMATIONS = {
    "translation": Transformation(
        "vertical shift (px)", lambda size: [round(size * n / 32) for n in range(-8, 9)], _translate
    ),
    "scale": Transformation("scale factor", lambda size: [n / 10 for n in range(6, 17)], _scale),
    "rotation": Transformation("rotation (degrees)", lambda size: [*range(0, 360, 15)], _rotate),
}


class Invariance(NamedTuple):
    """The effect of a transformation on features of several layers and on the class.

    Attributes:
        amounts: amounts of the transformation.
        distances: layer -> (amounts, images) |f(x) - f(Tx)| / |f(x)|.
        between_images: layer -> mean of |f(x) - f(y)| / |f(x)| over pairs of different images.
        probability: (amounts, images) probability of each image's own class.
    """

    amounts: tuple[float, ...]
    distances: dict[str, Float[Tensor, "a n"]]
    between_images: dict[str, float]
    probability: Float[Tensor, "a n"]

    def relative_distances(self, layer: str) -> Float[Tensor, " a"]:
        """Return the mean distance over images, divided by that between different images.

        At 1, a transformed image is as far from the original as another image. NaN if different
        images have the same features, up to rounding.
        """
        between = self.between_images[layer]
        return self.distances[layer].mean(1) / (between if between > ROUNDING else math.nan)

    def mean_distance(self, layer: str) -> float:
        """Return the mean of `relative_distances` over all amounts."""
        return float(self.relative_distances(layer).mean())

    @property
    def mean_probability(self) -> float:
        """Mean of the probability over images and amounts."""
        return float(self.probability.mean(1).mean())


def invariance(
    model: Model,
    images: Images,
    layers: Sequence[str],
    kind: str | Transformation,
    *,
    amounts: Sequence[float] | None = None,
    labels: Int[Tensor, " n"] | None = None,
) -> Invariance:
    """Transform images and measure how far features of several layers move.

    Args:
        model: the network.
        images: in [0, 1].
        layers: dotted names or aliases, such as the first and a fully connected one.
        kind: "translation" (downward), "scale", "rotation" about the center, or your own.
        amounts: pixels, factors, or degrees; None for the default amounts.
        labels: class index of each image; None for the predicted classes.

    Raises:
        NameNotFound: no such transformation.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 5; here relative to |f(x)|.
    """
    transformation = choose("transformation", kind, TRANSFORMATIONS)
    amounts = transformation.default_amounts(images.shape[-1]) if amounts is None else amounts
    original, scores = respond(model, images, layers)
    labels = scores.argmax(1) if labels is None else labels
    distances: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    probability = []
    for amount in amounts:
        moved, scores = respond(model, transformation.apply(images, amount), layers)
        probability.append(scores[torch.arange(len(images)), labels])
        for layer in layers:
            before, after = original[layer].flatten(1), moved[layer].flatten(1)
            distances[layer].append((before - after).norm(dim=1) / _norms(before))
    return Invariance(
        tuple(amounts),
        {layer: torch.stack(rows) for layer, rows in distances.items()},
        {layer: _mean_distance(outputs.flatten(1)) for layer, outputs in original.items()},
        torch.stack(probability),
    )


def _norms(features: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    return features.norm(dim=1).clamp(min=1e-12)


def _mean_distance(features: Float[Tensor, "n d"]) -> float:
    """Return the mean of |f(x) - f(y)| / |f(x)| over pairs of images; 0 for a single image."""
    if len(features) < 2:
        return 0.0
    relative = torch.cdist(features, features) / _norms(features)[:, None]
    return float(relative.sum() / (len(features) * (len(features) - 1)))
