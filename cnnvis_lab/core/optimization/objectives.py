"""Objectives to maximize: units, directions, classes, codes, and properties of the image itself.

`channel("CL5", [3, 7]) - 0.1 * total_variation()` scores image 0 by unit 3 and image 1 by unit 7,
each minus its own variation. Because every image has a score of its own, the gradient of the sum
of the scores consists of the images' own gradients.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..features import require_units
from ..types import Float
from .objective import Objective, PerImageObjective, evaluate, per_image, score_images

__all__ = [
    "Objective", "PerImageObjective", "alpha_norm", "channel", "direction", "diversity",
    "evaluate", "l2", "log_probability", "logit", "match", "neuron", "parse_target",
    "parse_targets", "per_image", "score_images", "total_variation",
]  # fmt: skip

MAX_DIGITS = 10  # of a unit's index


def parse_target(target: str) -> tuple[str, int]:
    """Split a target "layer:unit" such as "CL5:3"; units count from 0.

    Raises:
        InputError: the target does not have this form.
    """
    layer, colon, unit = target.rpartition(":")
    if not (colon and layer and unit.isdecimal() and len(unit) < MAX_DIGITS):
        form = "expected layer:unit with unit from 0, such as CL5:3"
        raise InputError(f"target {target[:80]!r}: {form}")
    return layer, int(unit)


def parse_targets(targets: Sequence[str]) -> tuple[str, list[int]]:
    """Split targets "layer:unit" of one layer into this layer and the units.

    Raises:
        InputError: no targets, or targets of several layers.
    """
    parsed = [parse_target(target) for target in targets]
    layers = dict.fromkeys(layer for layer, _ in parsed)
    if len(layers) != 1:
        found = ", ".join(layers) or "none"
        raise InputError(f"targets of {found}: expected a single layer; call once for each layer")
    return next(iter(layers)), [unit for _, unit in parsed]


def _select_images(values: Tensor, index: Tensor, layer: str) -> Tensor:
    """Select the values that belong to these images of the batch."""
    if int(index.max()) >= len(values):
        raise InputError(
            f"image {int(index.max())} of the batch, counted from 0, has no target of its own on "
            f"{layer}: {len(values)} given, expected one for each image"
        )
    return values[index.to(values.device)]


def _select_units(output: Tensor, units: Tensor, layer: str) -> Tensor:
    """Select each image's own channel: (n, ...) from (n, channels, ...)."""
    require_units(output, layer)
    units = units.to(output.device)
    wrong = units[(units < 0) | (units >= output.shape[1])]
    if len(wrong):
        raise InputError(
            f"unit {int(wrong[0])} of {layer}: it has {output.shape[1]} units, counted from 0"
        )
    return output[torch.arange(len(output), device=output.device), units]


def channel(layer: str, units: Sequence[int]) -> Objective:
    """Return, per image, the mean of a unit's map, or the unit's activation if it has no map."""
    wanted = torch.as_tensor(units)

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        own = _select_units(acts[layer], _select_images(wanted, index, layer), layer)
        return own.flatten(1).mean(1) if own.ndim > 1 else own

    return Objective((layer,), score)


# A class score is a channel of the layer that scores the classes. If this layer is convolutional,
# the score is the mean over positions, as in the network itself.
logit = channel


def log_probability(layer: str, units: Sequence[int]) -> Objective:
    """Return the log probability of one class per image, from a layer that scores the classes."""
    wanted = torch.as_tensor(units)

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        output = acts[layer].flatten(2).mean(2) if acts[layer].ndim > 2 else acts[layer]
        return _select_units(output.log_softmax(1), _select_images(wanted, index, layer), layer)

    return Objective((layer,), score)


def _select_position(output: Tensor, position: tuple[int, int] | None, layer: str) -> Tensor:
    if output.ndim < 4:
        return output
    height, width = output.shape[-2:]
    y, x = position or (height // 2, width // 2)
    if not (0 <= y < height and 0 <= x < width):
        raise InputError(f"position ({y}, {x}) of {layer}: its maps are {height}x{width}, from 0")
    return output[..., y, x]


def neuron(layer: str, units: Sequence[int], position: tuple[int, int] | None = None) -> Objective:
    """Return one unit per image at one position of its map.

    Args:
        layer: dotted name or alias.
        units: one per image.
        position: (row, column); the middle by default.
    """
    wanted = torch.as_tensor(units)
    return Objective(
        (layer,),
        lambda acts, _, index: _select_units(
            _select_position(acts[layer], position, layer),
            _select_images(wanted, index, layer),
            layer,
        ),
    )


def direction(
    layer: str, vectors: Tensor, position: tuple[int, int] | Literal["mean"] | None = "mean"
) -> Objective:
    """Return the activation along one direction of channel space per image.

    Args:
        layer: dotted name or alias.
        vectors: (n, channels), one direction per image; used as given, not normalized.
        position: "mean" over positions, a (row, column), or None for the middle.
    """

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        output = acts[layer]
        if position == "mean":
            output = output.flatten(2).mean(2) if output.ndim > 2 else output
        else:
            output = _select_position(output, position, layer)
        if output.shape[1] != vectors.shape[1]:
            raise InputError(
                f"direction of {vectors.shape[1]} numbers: {layer} has {output.shape[1]} units"
            )
        return (output * _select_images(vectors.to(output), index, layer)).sum(1)

    return Objective((layer,), score)


def match(
    layer: str, codes: Tensor, loss: str = "l2", mask: Float[Tensor, "..."] | None = None
) -> Objective:
    """Return the distance of each image's features from its code (Mahendran, Vedaldi 2015).

    Subtract it from a score to bring the features closer to the code.

    Args:
        layer: dotted name or alias.
        codes: (n, ...) features to reach.
        loss: "l2" ||f - c||^2 / ||c||^2; "l1" |f - c|_1 / |c|_1; "inner" -<f, c> / ||c||^2.
        mask: 1 where features count and 0 elsewhere, broadcast to one code: (1, h, w) for a part
            of the map, (channels, 1, 1) for some of the filters.
    """
    if loss not in ("l2", "l1", "inner"):
        raise InputError(f"loss {loss!r}: expected l2, l1 or inner")

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        features = acts[layer]
        code = _select_images(codes.to(features), index, layer)
        if code.shape != features.shape:
            given, found = tuple(code.shape[1:]), tuple(features.shape[1:])
            raise InputError(f"codes of shape {given}: {layer} gives {found} for these images")
        if mask is not None:
            code, features = code * mask.to(features), features * mask.to(features)
        code, features = code.flatten(1), features.flatten(1)
        if loss == "l1":
            return (features - code).abs().sum(1) / code.abs().sum(1)
        error = -(features * code) if loss == "inner" else (features - code) ** 2
        return error.sum(1) / (code * code).sum(1)

    return Objective((layer,), score)


def l2() -> Objective:
    """Return the mean squared distance of the pixels from gray."""
    return Objective((), lambda _, images, __: ((images - 0.5) ** 2).flatten(1).mean(1))


def alpha_norm(alpha: float = 6.0) -> Objective:
    """Return the mean of |x - gray|^alpha over pixels (Mahendran and Vedaldi 2015, alpha 6)."""
    return Objective((), lambda _, x, __: ((x - 0.5).abs() ** alpha).flatten(1).mean(1))


def total_variation(beta: float = 2.0) -> Objective:
    """Return the mean of (dx^2 + dy^2)^(beta / 2), forward differences with replicated border.

    The squared norm is clamped to at least 1e-8 (1e-5 of an 8-bit step, squared) so that the
    gradient stays finite for beta below 2. Source: Mahendran and Vedaldi 2015, section 3.
    """

    def score(_: Mapping[str, Tensor], images: Tensor, __: Tensor) -> Tensor:
        padded = functional.pad(images, (0, 1, 0, 1), mode="replicate")
        dx = padded[..., :-1, 1:] - images
        dy = padded[..., 1:, :-1] - images
        return ((dx * dx + dy * dy).clamp(min=1e-8) ** (beta / 2)).flatten(1).mean(1)

    return Objective((), score)


def diversity(layer: str, group: int) -> Objective:
    """Return minus the mean cosine between an image's Gram matrix and those of its group.

    Source: Olah, Mordvintsev, Schubert 2017, section "Diversity".
    """

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        if len(index) % group:
            raise InputError(f"{len(index)} images in groups of {group}: expected whole groups")
        output = acts[layer]
        maps = output.flatten(2) if output.ndim > 2 else output.unsqueeze(2)
        grams = functional.normalize((maps @ maps.mT).flatten(1), dim=1)
        grams = grams.view(-1, group, grams.shape[1])
        cosines = grams @ grams.mT
        others = (cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)) / max(group - 1, 1)
        return -others.flatten()

    return Objective((layer,), score, group)
