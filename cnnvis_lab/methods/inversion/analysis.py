"""What one asks of inverted codes: how near, how alike, what of colour, place and class is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, features, image_metrics
from ...models import Model
from .invert import feature_error


def post_relu_layers(model: Model, chosen: Sequence[str] = ()) -> dict[str, str]:
    """Return label -> layer to invert, behind its ReLU where that has a name of its own.

    Args:
        model: the network.
        chosen: layers; the model's tour by default.
    """
    layers = {name: name for name in chosen} or model.default_layers()
    return {label: model.after_relu(layer) for label, layer in layers.items()}


def pixel_error(
    found: Float[Tensor, "m 3 h w"], images: Images, unit: float
) -> Float[Tensor, " m"]:
    """Return how far pictures are from those they should be, as shown, cut to [0, 1].

    Args:
        found: inverted pictures, as many for each of `images`, one after the other.
        images: the pictures themselves.
        unit: `core.measures.distance_unit` of a set of pictures: 1 is another picture.

    Source: Dosovitskiy and Brox 2016, normalised reconstruction error.
    """
    return image_metrics.distance(found.clamp(0, 1).cpu(), _repeat_for_each(images, found), unit)


def _repeat_for_each(images: Images, found: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m 3 h w"]:
    if len(found) % len(images):
        raise InputError(
            f"{len(found)} pictures found for {len(images)}: expected as many for each"
        )
    return images.cpu().repeat_interleave(len(found) // len(images), 0)


def consistency(
    model: Model, found: Float[Tensor, "m 3 h w"], images: Images
) -> Float[Tensor, " m"]:
    """Return 1 where the network names the found picture as the picture itself, else 0.

    Source: Mahendran and Vedaldi 2016, classification consistency.
    """
    named, wanted = (features.predict(model, part).argmax(1) for part in (found, images))
    return (named == wanted.repeat_interleave(len(named) // len(wanted), 0)).float()


def color_correlation(
    found: Float[Tensor, "m 3 h w"], images: Images, grid: int = 4
) -> Float[Tensor, " m"]:
    """Return the correlation of coarse colours, each channel's less the picture's gray.

    Args:
        found: inverted pictures, as many for each of `images`.
        images: the pictures themselves.
        grid: fields a side over which colours are averaged.
    """
    pair = []
    for pictures in (found.clamp(0, 1).cpu(), _repeat_for_each(images, found)):
        coarse = functional.adaptive_avg_pool2d(pictures, grid)
        pair.append(coarse - coarse.mean(1, keepdim=True))
    return image_metrics.correlation(*pair)


def centroid(images: Images) -> Float[Tensor, "n 2"]:
    """Return (x, y) of what stands out from the border's mean colour, 0 to 1 across the picture."""
    edge = torch.ones(images.shape[-2:], dtype=torch.bool)
    edge[4:-4, 4:-4] = False
    border = images[..., edge].mean(-1)[..., None, None]
    weight = (images - border).square().sum(1)
    weight = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-12)
    axes = [torch.linspace(0, 1, side).to(images) for side in images.shape[-2:]]
    return torch.stack([(weight.sum(1) * axes[1]).sum(1), (weight.sum(2) * axes[0]).sum(1)], 1)


def position_error(found: Float[Tensor, "m 3 h w"], images: Images) -> Float[Tensor, " m"]:
    """Return how far what stands out has moved, as a share of the picture's side."""
    wanted = centroid(_repeat_for_each(images, found))
    return (centroid(found.clamp(0, 1).cpu()) - wanted).norm(dim=1)


def distance_between_starts(
    found: Float[Tensor, "n starts 3 h w"], unit: float
) -> Float[Tensor, " n"]:
    """Return the mean distance between the pictures that different starts lead to.

    Args:
        found: at least two starts for each code.
        unit: as in `pixel_error`.
    """
    if found.shape[1] < 2:
        raise InputError("the spread between starts needs two of them at least")
    apart = [torch.pdist(group.clamp(0, 1).flatten(1).cpu()).mean() for group in found]
    return torch.stack(apart) / unit


def spikiness(images: Images) -> Float[Tensor, " n"]:
    """Return which share of what is finer than 3x3 pixels lies in the strongest hundredth of them.

    A picture of even grain has 0.1 at most, one of lone pixels 1. Source: Mahendran and Vedaldi
    2015, figure 2, whose spikes it counts.
    """
    gray = images.mean(1, keepdim=True)
    around = functional.unfold(functional.pad(gray, (1, 1, 1, 1), mode="replicate"), 3)
    fine = (gray.flatten(1) - around.median(1).values).square()
    most = fine.topk(max(1, fine.shape[1] // 100), dim=1).values
    return most.sum(1) / fine.sum(1).clamp(min=1e-20)


@dataclass(frozen=True)
class ReconstructionMetrics:
    """What pictures found for codes have in common with the original ones, layer by layer.

    Attributes:
        layers: whose codes were inverted.
        feature: mean normalised error of the features, 0 at best.
        pixel: mean normalised error of the pixels: 1 is another picture.
        consistency: share of pictures that the network names as the original.
        naturalness: mean intersection of gradient histograms with the originals', 1 at best.
        color: mean correlation of coarse colours.
        position: mean way that what stands out has moved, in sides of the picture.
    """

    layers: tuple[str, ...]
    feature: Float[Tensor, " layers"]
    pixel: Float[Tensor, " layers"]
    consistency: Float[Tensor, " layers"]
    naturalness: Float[Tensor, " layers"]
    color: Float[Tensor, " layers"]
    position: Float[Tensor, " layers"]

    def of(self, what: str) -> dict[str, float]:
        """Return layer -> one of the numbers, by its name."""
        return dict(zip(self.layers, getattr(self, what).tolist(), strict=True))


def evaluate(
    model: Model, found: Mapping[str, Float[Tensor, "m 3 h w"]], images: Images, unit: float
) -> ReconstructionMetrics:
    """Compare pictures found for codes with the original ones.

    Args:
        model: the network.
        found: layer -> its pictures, as many for each of `images`, one after the other.
        images: the original pictures.
        unit: see `pixel_error`.
    """
    rows = torch.stack(
        [_mean_metrics(model, layer, own, images, unit) for layer, own in found.items()]
    )
    return ReconstructionMetrics(tuple(found), *rows.unbind(1))


def _mean_metrics(
    model: Model, layer: str, found: Float[Tensor, "m 3 h w"], images: Images, unit: float
) -> Float[Tensor, " numbers"]:
    codes, own = (features.extract(model, part, [layer])[layer] for part in (images, found))
    numbers = (
        feature_error(own, codes.repeat_interleave(len(own) // len(codes), 0)),
        pixel_error(found, images, unit),
        consistency(model, found, images),
        image_metrics.naturalness(found.clamp(0, 1).cpu(), images.cpu()),
        color_correlation(found, images),
        position_error(found, images),
    )
    return torch.stack([values.float().mean() for values in numbers])


def baseline_position_error(images: Images) -> float:
    """Return `position_error` of guessing the mean place every time: what nothing known gives."""
    places = centroid(images.cpu())
    return float((places - places.mean(0)).norm(dim=1).mean())


def fraction_increasing(values: Sequence[float] | Float[Tensor, " n"]) -> float:
    """Return the share of pairs of which the later value is the larger."""
    pairs = list(combinations([float(value) for value in values], 2))
    return sum(first < second for first, second in pairs) / len(pairs)


def largest_decrease(values: Sequence[float] | Float[Tensor, " n"]) -> float:
    """Return the largest step down from one value to the next; negative where all steps go up."""
    return -float(torch.as_tensor(values).diff().min())


def step_margin(values: Sequence[float] | Float[Tensor, " n"], at: int) -> float:
    """Return by how much the step up to a place is larger than the largest other step.

    Args:
        values: three at least.
        at: the place, from 1.
    """
    steps = torch.as_tensor(values).diff().tolist()
    own = steps.pop(at - 1)
    return own - max(steps)
