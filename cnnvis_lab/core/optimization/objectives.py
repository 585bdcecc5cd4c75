"""Objectives: immutable scores, one number per image, that add, subtract and scale.

`channel("CL5", [3, 7]) - 0.1 * total_variation()` scores image 0 by unit 3 and image 1 by unit 7,
each minus its own variation. Because every image has a score of its own, the gradient of the sum
of the scores consists of the images' own gradients.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import hooks
from ..early_exit import activations_at
from ..errors import InputError
from ..types import Float, Images

# (activations by layer, images before transformation, indices of these images in the batch)
Score = Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Objective:
    """A score per image.

    Attributes:
        layers: the layers whose outputs it reads; none for a score of the image alone.
        score: the function.
        group: number of consecutive images that must be scored together.
    """

    layers: tuple[str, ...]
    score: Score
    group: int = 1

    def __add__(self, other: "Objective | int") -> "Objective":
        if isinstance(other, int):  # the 0 that sum() starts from
            return self
        first, second = self.score, other.score
        layers = tuple(dict.fromkeys(self.layers + other.layers))
        group = math.lcm(self.group, other.group)
        return Objective(layers, lambda a, x, i: first(a, x, i) + second(a, x, i), group)

    __radd__ = __add__

    def __mul__(self, factor: float) -> "Objective":
        score = self.score
        return replace(self, score=lambda a, x, i: score(a, x, i) * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Objective":
        return self * (1 / divisor)

    def __neg__(self) -> "Objective":
        return self * -1

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other

    def run(
        self, model: nn.Module, images: Tensor, index: Tensor, layers: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """Run images through the network; return the activations that the score reads."""
        return hooks.activations(model, images, layers) if layers else {}


@dataclass(frozen=True)
class PerImageObjective(Objective):
    """An objective that reads each image at a layer of its own.

    Attributes:
        exits: of every image of the batch, the layer at which it leaves the forward pass.
    """

    exits: tuple[str, ...] = ()

    def __add__(self, other: Objective | int) -> Objective:
        if isinstance(other, int):
            return self
        raise InputError("objectives per image do not add; add their parts, then combine these")

    __radd__ = __add__

    def run(
        self, model: nn.Module, images: Tensor, index: Tensor, layers: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """Run each image up to its own layer; return the outputs of the images that exit there."""
        return activations_at(model, images, [self.exits[i] for i in index.tolist()])


def parse_target(target: str) -> tuple[str, int]:
    """Split "layer:unit", for instance "CL5:3", units counted from 0.

    Raises:
        InputError: the target has another form.
    """
    layer, colon, unit = target.rpartition(":")
    if not (colon and layer and unit.isdecimal()):
        raise InputError(f"target {target!r}: expected layer:unit with unit from 0, such as CL5:3")
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
        raise InputError(f"targets of {found}: expected one layer; call once for each layer")
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
    units = units.to(output.device)
    wrong = units[(units < 0) | (units >= output.shape[1])]
    if len(wrong):
        raise InputError(
            f"unit {int(wrong[0])} of {layer}: it has {output.shape[1]} units, counted from 0"
        )
    return output[torch.arange(len(output), device=output.device), units]


def channel(layer: str, units: Sequence[int]) -> Objective:
    """Return the mean of one unit's map per image, or the unit itself where there is no map."""
    wanted = torch.as_tensor(units)

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        own = _select_units(acts[layer], _select_images(wanted, index, layer), layer)
        return own.flatten(1).mean(1) if own.ndim > 1 else own

    return Objective((layer,), score)


# A class score is a channel of the layer that scores the classes. Where this layer is
# convolutional, it is the mean over space, as such networks compute it.
logit = channel


def log_probability(layer: str, units: Sequence[int]) -> Objective:
    """Return the log probability of one class per image, of a layer that scores the classes."""
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
    """Return one unit per image at a position (row, column) of its map, by default the middle."""
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
        layer: the layer.
        vectors: (n, channels), one direction per image; used as given, not normalized.
        position: "mean" over space, a (row, column), or None for the middle.
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
        layer: the layer.
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

    The square is floored at 1e-8 (1e-5 of an 8-bit step, squared) so that the gradient stays
    finite for beta below 2. Source: Mahendran and Vedaldi 2015, section 3.
    """

    def score(_: Mapping[str, Tensor], images: Tensor, __: Tensor) -> Tensor:
        padded = functional.pad(images, (0, 1, 0, 1), mode="replicate")
        dx = padded[..., :-1, 1:] - images
        dy = padded[..., 1:, :-1] - images
        return ((dx * dx + dy * dy).clamp(min=1e-8) ** (beta / 2)).flatten(1).mean(1)

    return Objective((), score)


def diversity(layer: str, group: int) -> Objective:
    """Return minus the mean cosine between Gram matrices of the images of each group.

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


def scores(
    objective: Objective,
    model: nn.Module,
    images: Images,
    index: Tensor,
    seen: Float[Tensor, "n 3 rows columns"],
) -> Tensor:
    """Evaluate one objective; see `evaluate`."""
    return evaluate([objective], model, images, index, seen)[0]


@torch.no_grad()
def score_images(
    objective: Objective, model: nn.Module, images: Images, *, batch: int = 64
) -> Float[Tensor, " n"]:
    """Return the scores of images as they are, without transformations, on the CPU.

    Args:
        objective: one that does not group images.
        model: any network.
        images: on the network's device.
        batch: images per forward pass.
    """
    index = torch.arange(len(images), device=images.device)
    parts = (
        evaluate([objective], model, images[rows], rows, images[rows])[0]
        for rows in index.split(batch)
    )
    return torch.cat(list(parts)).float().cpu()


def evaluate(
    objectives: Sequence[Objective],
    model: nn.Module,
    images: Images,
    index: Tensor,
    seen: Float[Tensor, "n 3 rows columns"],
) -> list[Float[Tensor, " n"]]:
    """Evaluate objectives in one forward pass.

    Args:
        objectives: either all of them or none read each image at a layer of its own.
        model: any network.
        images: the images before transformation, for scores of pixels.
        index: positions of these images in the batch.
        seen: the images after transformation, of any size, as the network receives them.
    """
    layers = tuple(dict.fromkeys(layer for each in objectives for layer in each.layers))
    acts = objectives[0].run(model, seen, index, layers)
    return [each.score(acts, images, index) for each in objectives]


def per_image(parts: Sequence[tuple[Objective, int]]) -> PerImageObjective:
    """Score the first images of a batch by one objective, the next ones by another, and so on.

    Each image leaves the forward pass at the layer that its objective reads.

    Args:
        parts: objectives of one layer each, each with the number of its images.

    Raises:
        InputError: an objective of no layer or several, or one that groups images.
    """
    for part, _ in parts:
        if len(part.layers) != 1 or part.group > 1:
            given = ", ".join(part.layers) or "none"
            raise InputError(f"objectives per image read one layer each; this one reads: {given}")
    owner = torch.tensor([p for p, (_, count) in enumerate(parts) for _ in range(count)])
    own_index = torch.cat([torch.arange(count) for _, count in parts])
    exits = tuple(parts[p][0].layers[0] for p in owner.tolist())

    def score(acts: Mapping[str, Tensor], images: Tensor, index: Tensor) -> Tensor:
        index, result = index.cpu(), images.new_empty(len(index))
        by_layer = {layer: [i for i in index.tolist() if exits[i] == layer] for layer in acts}
        for place in owner[index].unique().tolist():
            part = parts[place][0]
            (layer,) = part.layers
            rows = [row for row, i in enumerate(by_layer[layer]) if owner[i] == place]
            mask = (owner[index] == place).to(images.device)
            values = part.score(
                {layer: acts[layer][torch.tensor(rows, device=images.device)]},
                images[mask],
                own_index[index[owner[index] == place]].to(images.device),
            )
            result = result.masked_scatter(mask, values)
        return result

    return PerImageObjective(tuple(dict.fromkeys(exits)), score, exits=exits)
