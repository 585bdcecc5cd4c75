"""Comparison of several methods that invert the same codes, and of regularizers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ...core import Float, Images, image_metrics
from ...models import Model
from .analysis import (
    Inverted,
    ReconstructionMetrics,
    evaluate,
    fraction_increasing,
    spikiness,
)
from .invert import Inversion, subset

# The recipes with a regularizer whose constants are meant to give the best images.
REGULARIZED = ("this project", "2015", "2016, C = 100")


@dataclass(frozen=True)
class Comparison:
    """Metrics of several methods on the same images and layers.

    Attributes:
        methods: name of the method -> its metrics.
    """

    methods: Mapping[str, ReconstructionMetrics]

    def __getitem__(self, name: str) -> ReconstructionMetrics:
        """Return a method's metrics."""
        return self.methods[name]

    def fraction_increasing(self, metric: str, names: Sequence[str]) -> float:
        """Return the smallest `fraction_increasing` over layers of those methods that are there."""
        present = [self.methods[name] for name in names if name in self.methods]
        return min(fraction_increasing(getattr(one, metric)) for one in present)

    def difference(self, metric: str, name: str, other: str) -> Float[Tensor, " layers"]:
        """Return a method's metric minus another one's, layer by layer.

        Args:
            metric: name of the metric.
            name: the method.
            other: the method to subtract.
        """
        return getattr(self[name], metric) - getattr(self[other], metric)

    def decreases_with_weight(self, metric: str) -> list[float]:
        """Return the mean decrease of a metric from each weight C of 2016 to the next larger."""
        pairs = pairwise(name for name in self.methods if name.startswith("2016"))
        return [float(self.difference(metric, first, second).mean()) for first, second in pairs]

    def pixel_errors(self, names: Sequence[str]) -> dict[str, float]:
        """Return the pixel errors of those methods that are there, with their names."""
        return {
            f"{layer} pixel error, {name}": error
            for name in names
            if name in self.methods
            for layer, error in self[name].by_layer("pixel").items()
        }

    def lead(self, name: str) -> Float[Tensor, " layers"] | None:
        """Return how much smaller a method's pixel error is than the smallest of `REGULARIZED`.

        Args:
            name: the method.

        Returns:
            One difference per layer; None if the method did not invert all layers.
        """
        best = torch.stack([self[other].pixel for other in REGULARIZED]).amin(0)
        own = self.methods.get(name)
        return best - own.pixel if own and len(own.layers) == len(best) else None

    def smallest_lead(self, name: str) -> float | None:
        """Return the smallest `lead` of a method over layers."""
        lead = self.lead(name)
        return None if lead is None else float(lead.min())

    def lead_in_fully_connected(self, name: str) -> float | None:
        """Return the mean `lead` in fully connected layers minus that in convolutional layers."""
        lead, convolutional = self.lead(name), next(iter(self.methods.values())).is_convolutional
        if lead is None or convolutional.all() or not convolutional.any():
            return None
        return float(lead[~convolutional].mean() - lead[convolutional].mean())


def compare(
    model: Model,
    inversions: Mapping[str, Inversion],
    decoded: Mapping[str, Inverted],
    images: Images,
    unit: float,
) -> Comparison:
    """Evaluate what several methods made of the same codes.

    Args:
        model: the network.
        inversions: name of the recipe -> inversion of the same layers, from one start.
        decoded: layer -> images from a decoder; if there are any of these layers, they are
            evaluated under the name "up-convolution".
        images: (n, 3, h, w) the original images, of which all methods inverted at least these.
        unit: see `evaluate`.
    """
    methods = {name: one.by_layer() for name, one in inversions.items()}
    inverted = next(iter(methods.values()))
    same = {layer: own for layer, own in decoded.items() if layer in inverted}
    methods |= {"up-convolution": same} if same else {}
    count = len(images)
    return Comparison(
        {name: evaluate(model, subset(own, count), images, unit) for name, own in methods.items()}
    )


@dataclass(frozen=True)
class PriorEffects:
    """Smoothness of images that were inverted by `variation_recipes`.

    Attributes:
        names: the recipes; the last one has another exponent.
        layers: the layers that were inverted.
        roughness: mean absolute difference between neighboring pixels.
        spikes: mean `spikiness`.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    roughness: Float[Tensor, "recipes layers"]
    spikes: Float[Tensor, "recipes layers"]

    def largest_increase(self) -> float:
        """Return the largest increase of roughness from one weight to the next."""
        return float(self.roughness[:-1].float().diff(dim=0).max())

    def equally_smooth(self) -> str:
        """Return the name of the weight that gives most nearly the other exponent's roughness."""
        total = self.roughness.sum(1)
        return self.names[int((total[:-1] - total[-1]).abs().argmin())]

    def spike_ratio(self) -> float:
        """Return the spikes of the other exponent over those of the `equally_smooth` weight."""
        total = self.spikes.sum(1)
        return float(total[-1] / total[self.names.index(self.equally_smooth())])


def prior_effects(inversions: Mapping[str, Inversion]) -> PriorEffects:
    """Measure the smoothness of images inverted by `variation_recipes`.

    Args:
        inversions: name of the recipe -> inversion of the same codes.
    """
    layers = next(iter(inversions.values())).layers
    images = [[one[layer] for layer in layers] for one in inversions.values()]
    tables = [
        torch.tensor([[float(metric(own).mean()) for own in row] for row in images]).double()
        for metric in (image_metrics.mean_abs_gradient, spikiness)
    ]
    return PriorEffects(tuple(inversions), layers, *tables)
