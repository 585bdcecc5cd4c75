"""What is maximised: immutable scores, one number per image, that add, subtract and scale.

`channel("CL5", [3, 7]) - 0.1 * total_variation()` scores image 0 by unit 3 and image 1 by unit 7,
each less its own variation. Because every image has a score of its own, the gradient of the sum
gives every image its own gradient.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

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
        layers: whose outputs it reads; none for a score of the image alone.
        score: the function.
        group: images that must be scored together, in runs of this many.
        exits: each image's own layer, for scores that read every image at one only; the score
            then finds in each layer's place the images that leave there, see `core.exits`.
    """

    layers: tuple[str, ...]
    score: Score
    group: int = 1
    exits: tuple[str, ...] = ()

    def __add__(self, other: "Objective | int") -> "Objective":
        if other == 0:  # so that sum() works
            return self
        mine, its = self.score, other.score
        layers = tuple(dict.fromkeys(self.layers + other.layers))
        if self.layers and other.layers and self.exits != other.exits:
            raise InputError("a score with layers of each image's own adds to none without them")
        group, exits = math.lcm(self.group, other.group), self.exits or other.exits
        return Objective(layers, lambda a, x, i: mine(a, x, i) + its(a, x, i), group, exits)

    __radd__ = __add__

    def __mul__(self, factor: float) -> "Objective":
        mine = self.score
        return replace(self, score=lambda a, x, i: mine(a, x, i) * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "Objective":
        return self * (1 / divisor)

    def __neg__(self) -> "Objective":
        return self * -1

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other


def parse_target(target: str) -> tuple[str, int]:
    """Split "layer:unit", for instance "CL5:3", units counted from 0.

    Raises:
        InputError: not of that form.
    """
    layer, colon, unit = target.rpartition(":")
    if not (colon and layer and unit.isdecimal()):
        raise InputError(f"target {target!r}: expected layer:unit with unit from 0, such as CL5:3")
    return layer, int(unit)


def parse_targets(targets: Sequence[str]) -> tuple[str, list[int]]:
    """Split targets "layer:unit" that are all of one layer into that layer and the units.

    Raises:
        InputError: none, or of several layers.
    """
    parsed = [parse_target(target) for target in targets]
    layers = dict.fromkeys(layer for layer, _ in parsed)
    if len(layers) != 1:
        found = ", ".join(layers) or "none"
        raise InputError(f"targets of {found}: expected one layer; call once for each layer")
    return next(iter(layers)), [unit for _, unit in parsed]


def _select_images(values: Tensor, index: Tensor, layer: str) -> Tensor:
    """Pick what was given for these images of the batch."""
    if int(index.max()) >= len(values):
        raise InputError(
            f"image {int(index.max())} of the batch, counted from 0, has no target of its own on "
            f"{layer}: {len(values)} given, expected one for each image"
        )
    return values[index.to(values.device)]


def _select_units(output: Tensor, units: Tensor, layer: str) -> Tensor:
    """Pick each image's own channel: (n, ...) from (n, channels, ...)."""
    units = units.to(output.device)
    wrong = units[(units < 0) | (units >= output.shape[1])]
    if len(wrong):
        raise InputError(
            f"unit {int(wrong[0])} of {layer}: it has {output.shape[1]} units, counted from 0"
        )
    return output[torch.arange(len(output), device=output.device), units]


def channel(layer: str, units: Sequence[int]) -> Objective:
    """Mean over space of one unit's map per image; of a full layer, the unit itself."""
    wanted = torch.as_tensor(units)

    def score(acts: Mapping[str, Tensor], _: Tensor, index: Tensor) -> Tensor:
        own = _select_units(acts[layer], _select_images(wanted, index, layer), layer)
        return own.flatten(1).mean(1) if own.ndim > 1 else own

    return Objective((layer,), score)


# A class score is the channel of the layer that scores the classes: its mean over space where
# that layer is convolutional, which is how such networks compute it.
logit = channel


def log_probability(layer: str, units: Sequence[int]) -> Objective:
    """Log of one class's probability per image, of a layer that scores the classes."""
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
    """One unit per image at one place (row, column) of its map, by default the middle."""
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
    layer: str, vectors: Tensor, position: tuple[int, int] | str | None = "mean"
) -> Objective:
    """Activation along one direction of channel space per image.

    Args:
        layer: the layer.
        vectors: (n, channels), one direction per image; used as given, not normalised.
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
    """Distance of each image's features to its code, to be subtracted (Mahendran, Vedaldi 2015).

    Args:
        layer: the layer.
        codes: (n, ...) features to reach.
        loss: "l2" ||f - c||^2 / ||c||^2; "l1" |f - c|_1 / |c|_1; "inner" -<f, c> / ||c||^2.
        mask: 1 where features count and 0 where not, as large as one code or spread over it:
            (1, h, w) for a part of the map, (channels, 1, 1) for some of the filters.
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
    """Mean square distance of the pixels from gray."""
    return Objective((), lambda _, images, __: ((images - 0.5) ** 2).flatten(1).mean(1))


def alpha_norm(alpha: float = 6.0) -> Objective:
    """Mean |x - gray|^alpha over pixels (Mahendran and Vedaldi 2015, alpha 6)."""
    return Objective((), lambda _, x, __: ((x - 0.5).abs() ** alpha).flatten(1).mean(1))


def total_variation(beta: float = 2.0) -> Objective:
    """Mean (dx^2 + dy^2)^(beta / 2), forward differences with replicated border.

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
    """How unlike the images of each run of `group` are: minus their mean cosine in Gram matrices.

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


def evaluate(
    objectives: Sequence[Objective],
    model: nn.Module,
    images: Images,
    index: Tensor,
    seen: Float[Tensor, "n 3 rows columns"],
) -> list[Float[Tensor, " n"]]:
    """Evaluate objectives in one forward pass.

    Args:
        objectives: what to score; the first says how the images go through the network.
        model: the network.
        images: the images themselves, for the scores that read pixels.
        index: which images of the batch they are.
        seen: what the network is shown, the images after transformation, of any size.
    """
    exits = objectives[0].exits
    layers = tuple(dict.fromkeys(layer for one in objectives for layer in one.layers))
    acts: Mapping[str, Tensor] = {}
    if exits:
        acts = activations_at(model, seen, [exits[i] for i in index.tolist()])
    elif layers:
        acts = hooks.activations(model, seen, layers)
    return [one.score(acts, images, index) for one in objectives]


def per_image(parts: Sequence[tuple[Objective, int]]) -> Objective:
    """Score the first images of a batch by one objective, the next ones by another, and so on.

    Each image leaves the forward pass at the layer its objective reads.

    Args:
        parts: objectives of one layer each, and how many images are theirs.

    Raises:
        InputError: an objective of no layer or several, or of images in groups.
    """
    for part, _ in parts:
        if len(part.layers) != 1 or part.group > 1:
            found = ", ".join(part.layers) or "none"
            raise InputError(f"objectives side by side read one layer each; this one: {found}")
    owner = torch.tensor([p for p, (_, count) in enumerate(parts) for _ in range(count)])
    number = torch.cat([torch.arange(count) for _, count in parts])
    exits = tuple(parts[p][0].layers[0] for p in owner.tolist())

    def score(acts: Mapping[str, Tensor], images: Tensor, index: Tensor) -> Tensor:
        index, result = index.cpu(), images.new_empty(len(index))
        leavers = {layer: [i for i in index.tolist() if exits[i] == layer] for layer in acts}
        for place in owner[index].unique().tolist():
            part = parts[place][0]
            here = owner[index] == place
            (layer,) = part.layers
            rows = torch.tensor([i for i, n in enumerate(leavers[layer]) if owner[n] == place])
            own = {layer: acts[layer][rows.to(images.device)]}
            own_index = number[index[here]].to(images.device)
            mask = here.to(images.device)
            result = result.masked_scatter(mask, part.score(own, images[mask], own_index))
        return result

    layers = tuple(dict.fromkeys(exits))
    return Objective(layers, score, exits=exits)
