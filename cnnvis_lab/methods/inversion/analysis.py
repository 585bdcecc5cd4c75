"""Metrics of inverted images: feature and pixel error, consistency, color, position, spikes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Bool, Float, Images, InputError, features, image_metrics, ratio
from ...models import Model
from .invert import Inversion, feature_error

BORDER = 4  # width in pixels of the border whose mean color is the background
Inverted = Float[Tensor, "m c h w"]  # the same number for each original image, one after the other


def post_relu_layers(model: Model, layers: Sequence[str] = ()) -> dict[str, str]:
    """Return label -> layer to invert: the output of its ReLU if that has a name of its own.

    Args:
        model: the network.
        layers: labels; the network's default layers if empty.
    """
    chosen = {name: name for name in layers} or model.default_layers()
    return {label: model.after_relu(layer) for label, layer in chosen.items()}


def _repeat_for(inverted: Inverted, images: Images) -> Inverted:
    """Repeat each original image as often as it was inverted."""
    if len(inverted) % len(images):
        raise InputError(f"{len(inverted)} inverted images for {len(images)}: expected a multiple")
    return images.cpu().repeat_interleave(len(inverted) // len(images), 0)


def pixel_error(inverted: Inverted, images: Images, unit: float) -> Float[Tensor, " m"]:
    """Return the distance of inverted images, clipped to [0, 1], from the original ones.

    Args:
        inverted: (m, 3, h, w), as many for each of `images`, one after the other.
        images: (n, 3, h, w) the original images.
        unit: `core.image_metrics.mean_pairwise_distance` of a set of images, so that 1 is the mean
            distance to another image.

    Source: Dosovitskiy and Brox 2016, normalized reconstruction error.
    """
    original = _repeat_for(inverted, images)
    return image_metrics.distance(inverted.clamp(0, 1).cpu(), original, unit)


def consistency(model: Model, inverted: Inverted, images: Images) -> Float[Tensor, " m"]:
    """Return 1 if the network predicts the same class for inverted and original image, else 0.

    Args:
        model: the network.
        inverted: (m, 3, h, w), as many for each of `images`.
        images: (n, 3, h, w) the original images.

    Source: Mahendran and Vedaldi 2016, classification consistency.
    """
    after, before = (features.predict(model, part).argmax(1) for part in (inverted, images))
    return (after == before.repeat_interleave(len(after) // len(before), 0)).float()


def color_correlation(inverted: Inverted, images: Images, grid: int = 4) -> Float[Tensor, " m"]:
    """Return the correlation of coarse colors, i.e. channels minus their mean.

    Args:
        inverted: (m, 3, h, w), as many for each of `images`.
        images: (n, 3, h, w) the original images.
        grid: number of cells, in each direction, over which colors are averaged.
    """
    chroma = []
    for part in (inverted.clamp(0, 1).cpu(), _repeat_for(inverted, images)):
        coarse = functional.adaptive_avg_pool2d(part, grid)
        chroma.append(coarse - coarse.mean(1, keepdim=True))
    return image_metrics.correlation(*chroma)


def centroid(images: Images) -> Float[Tensor, "n 2"]:
    """Return the (x, y) centroid, 0 to 1, of the difference from the border's mean color."""
    is_border = torch.ones(images.shape[-2:], dtype=torch.bool)
    is_border[BORDER:-BORDER, BORDER:-BORDER] = False
    background = images[..., is_border].mean(-1)[..., None, None]
    weight = (images - background).square().sum(1)
    weight = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-12)
    y, x = (torch.linspace(0, 1, size).to(images) for size in images.shape[-2:])
    return torch.stack([(weight.sum(1) * x).sum(1), (weight.sum(2) * y).sum(1)], 1)


def position_error(inverted: Inverted, images: Images) -> Float[Tensor, " m"]:
    """Return how far the centroid of the foreground has moved, as a fraction of the image size."""
    original = centroid(_repeat_for(inverted, images))
    return (centroid(inverted.clamp(0, 1).cpu()) - original).norm(dim=1)


def baseline_position_error(images: Images) -> float:
    """Return the mean `position_error` of always guessing the mean position."""
    positions = centroid(images.cpu())
    return float((positions - positions.mean(0)).norm(dim=1).mean())


def distance_between_starts(
    inverted: Float[Tensor, "n starts c h w"], unit: float
) -> Float[Tensor, " n"]:
    """Return the mean distance between images reconstructed from different random starts.

    Args:
        inverted: (n, starts, 3, h, w) with at least two starts.
        unit: as in `pixel_error`.

    Raises:
        InputError: fewer than two starts.
    """
    if inverted.shape[1] < 2:
        raise InputError("the distance between starts needs at least two of them")
    distances = [torch.pdist(group.clamp(0, 1).flatten(1).cpu()).mean() for group in inverted]
    return torch.stack(distances) / unit


def mean_distance_between_starts(inversion: Inversion, unit: float) -> dict[str, float]:
    """Return layer -> `distance_between_starts`, averaged over images."""
    distances = (distance_between_starts(images, unit) for images in inversion.images)
    means = [float(values.mean()) for values in distances]
    return dict(zip(inversion.layers, means, strict=True))


def spikiness(images: Images) -> Float[Tensor, " n"]:
    """Return the fraction of high-frequency energy that lies in the top 1 % of pixels.

    High frequencies are the difference from the median of 3x3 pixels. Uniform noise gives at most
    0.1, isolated pixels give 1. Source: Mahendran and Vedaldi 2015, figure 2, which shows spikes.
    """
    gray = images.mean(1, keepdim=True)
    patches = functional.unfold(functional.pad(gray, (1, 1, 1, 1), mode="replicate"), 3)
    energy = (gray.flatten(1) - patches.median(1).values).square()
    top = energy.topk(max(1, energy.shape[1] // 100), dim=1).values
    return top.sum(1) / energy.sum(1).clamp(min=1e-20)


@dataclass(frozen=True)
class ReconstructionMetrics:
    """How similar inverted images are to the original ones, layer by layer.

    Attributes:
        layers: the layers that were inverted.
        is_convolutional: whether each layer has feature maps.
        feature: mean normalized error of the features, 0 at best.
        pixel: mean normalized error of the pixels; 1 is the distance to another image.
        consistency: fraction of images that the network assigns to the original's class.
        naturalness: mean intersection of gradient histograms with those of the originals, 1 at
            best.
        color: mean correlation of low-resolution colors.
        position: mean displacement of the foreground, as a fraction of the image size.
    """

    layers: tuple[str, ...]
    is_convolutional: Bool[Tensor, " layers"]
    feature: Float[Tensor, " layers"]
    pixel: Float[Tensor, " layers"]
    consistency: Float[Tensor, " layers"]
    naturalness: Float[Tensor, " layers"]
    color: Float[Tensor, " layers"]
    position: Float[Tensor, " layers"]

    def by_layer(self, metric: str) -> dict[str, float]:
        """Return layer -> value of the metric with this name."""
        return dict(zip(self.layers, getattr(self, metric).tolist(), strict=True))

    def last(self, metric: str, unit: float = 1.0) -> float | None:
        """Return a metric of the last layer, divided by `unit`; None without layers."""
        return float(getattr(self, metric)[-1] / unit) if self.layers else None

    def convolutional_mean(self, metric: str) -> float:
        """Return the mean of a metric over convolutional layers."""
        return float(getattr(self, metric)[self.is_convolutional].mean())

    def fully_connected_step_margin(self, metric: str) -> float | None:
        """Return the `step_margin` of the first fully connected layer.

        Returns:
            None if that is the first of all layers, if there is none, or with fewer than 3 layers.
        """
        at = next((n for n, is_map in enumerate(self.is_convolutional) if not is_map), 0)
        return step_margin(getattr(self, metric), at) if at and len(self.layers) > 2 else None

    def smallest_excess(self, metric: str, other: "ReconstructionMetrics") -> float | None:
        """Return the smallest difference to another result's metric over their common layers."""
        own, others = self.by_layer(metric), other.by_layer(metric)
        excess = [own[layer] - others[layer] for layer in others if layer in own]
        return min(excess, default=None)


def evaluate(
    model: Model, inverted: Mapping[str, Inverted], images: Images, unit: float
) -> ReconstructionMetrics:
    """Compare inverted images with the original ones.

    Args:
        model: the network.
        inverted: layer -> (m, 3, h, w), as many for each of `images`, one after the other.
        images: (n, 3, h, w) the original images.
        unit: see `pixel_error`.
    """
    rows = [_mean_metrics(model, layer, own, images, unit) for layer, own in inverted.items()]
    shapes = model.layer_shapes(list(inverted)).values() if inverted else ()
    is_convolutional = torch.tensor([len(shape) == 3 for shape in shapes], dtype=torch.bool)
    metrics = torch.stack(rows) if rows else torch.zeros(0, 6)
    return ReconstructionMetrics(tuple(inverted), is_convolutional, *metrics.unbind(1))


def _mean_metrics(
    model: Model, layer: str, inverted: Inverted, images: Images, unit: float
) -> Float[Tensor, " metrics"]:
    """Return the metrics of one layer, in the order of `ReconstructionMetrics`."""
    wanted, reached = (features.extract(model, part, [layer])[layer] for part in (images, inverted))
    metrics = (
        feature_error(reached, wanted.repeat_interleave(len(reached) // len(wanted), 0)),
        pixel_error(inverted, images, unit),
        consistency(model, inverted, images),
        image_metrics.naturalness(inverted.clamp(0, 1).cpu(), images.cpu()),
        color_correlation(inverted, images),
        position_error(inverted, images),
    )
    return torch.stack([values.float().mean() for values in metrics])


def fraction_increasing(values: Sequence[float] | Float[Tensor, " n"]) -> float:
    """Return the fraction of all pairs in which the later value is larger; NaN for one value."""
    pairs = list(combinations([float(value) for value in values], 2))
    return ratio(sum(first < second for first, second in pairs), len(pairs))


def largest_decrease(values: Sequence[float] | Float[Tensor, " n"]) -> float:
    """Return the largest decrease from one value to the next; negative if all increase.

    It is NaN for a single value.
    """
    steps = torch.as_tensor(values).diff()
    return -float(steps.min()) if len(steps) else math.nan


def step_margin(values: Sequence[float] | Float[Tensor, " n"], at: int) -> float:
    """Return how much the increase to value `at` exceeds the largest other increase.

    Args:
        values: at least three.
        at: index of the value, from 1.
    """
    steps = torch.as_tensor(values).diff().tolist()
    step = steps.pop(at - 1)
    return step - max(steps)
