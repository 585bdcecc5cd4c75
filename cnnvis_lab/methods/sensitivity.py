"""How a network's answer changes with its picture: a part of it covered, the whole of it moved.

The experiments by which Zeiler and Fergus check that what is projected back is what counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..core import hooks, transforms
from ..core.errors import InputError, not_found
from ..core.objectives import parse_target
from ..core.shapes import Float, Images, Int
from ..models import Model

GRAY = 0.5
BATCH = 32


@torch.no_grad()
def answers(
    model: Model, images: Images, layers: Sequence[str]
) -> tuple[dict[str, Tensor], Float[Tensor, "n classes"]]:
    """Return activations of layers, and class probabilities, of any number of images."""
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    scores = []
    for part in images.split(BATCH):
        with hooks.record(model, layers) as acts:
            scores.append(model(part.to(model.mean.device)).softmax(1).cpu())
        for layer in layers:
            kept[layer].append(acts[layer].cpu())
    return {layer: torch.cat(parts) for layer, parts in kept.items()}, torch.cat(scores)


@dataclass(frozen=True)
class Occlusion:
    """What a gray square changes, wherever it lies.

    Attributes:
        targets: "layer:unit" of each map.
        corners: (places down, places across, 2) upper left corner of the square, in pixels.
        side: of the square, in pixels.
        activity: (targets, down, across) activation summed over the map, as after a ReLU.
        whole: (targets,) the same of the untouched picture.
        probability: (down, across) of the class in question.
        named: (down, across) the most likely class.
    """

    targets: tuple[str, ...]
    corners: Int[Tensor, "y x 2"]
    side: int
    activity: Float[Tensor, "t y x"]
    whole: Float[Tensor, " t"]
    probability: Float[Tensor, "y x"]
    named: Int[Tensor, "y x"]

    def energy(self, projection: Float[Tensor, "3 h w"]) -> Float[Tensor, "y x"]:
        """Return how much of a projection's energy each square covers."""
        squares = (projection**2).sum(0)[None, None]
        sums = functional.avg_pool2d(squares, self.side, 1, divisor_override=1)[0, 0]
        return sums[self.corners[..., 0], self.corners[..., 1]]


def occlude(
    model: Model,
    image: Float[Tensor, "3 h w"],
    targets: Sequence[str],
    label: int | None = None,
    *,
    side: int = 24,
    step: int = 6,
) -> Occlusion:
    """Slide a gray square over a picture and watch maps and the class.

    Args:
        model: the network.
        image: in [0, 1].
        targets: "layer:unit" whose maps are watched.
        label: the class; by default the one the untouched picture is given.
        side: of the square, in pixels.
        step: from place to place, in pixels.

    Raises:
        InputError: a square that is larger than the picture.

    Source: Zeiler and Fergus 2013, section 4.2 and figure 7.
    """
    height, width = image.shape[-2:]
    if not (0 < side <= min(height, width) and step > 0):
        raise InputError(f"square of {side}, step {step}: the picture has {height}x{width} pixels")
    rows, columns = (torch.arange(0, length - side + 1, step) for length in (height, width))
    corners = torch.cartesian_prod(rows, columns)
    # The first square is empty: the untouched picture.
    boxes = torch.cat(
        [torch.zeros(1, 4, dtype=torch.int64), torch.cat([corners, corners + side], 1)]
    )
    wanted, sums, scores = [parse_target(target) for target in targets], [], []
    for part in boxes.split(BATCH):
        acts, chances = answers(model, covered_by(image, part), [*dict(wanted)])
        sums.append(torch.stack([_activity(acts[layer], unit, layer) for layer, unit in wanted]))
        scores.append(chances)
    activity, chances, grid = torch.cat(sums, 1), torch.cat(scores), (len(rows), len(columns))
    watched = int(chances[0].argmax()) if label is None else label
    return Occlusion(
        tuple(targets),
        corners.view(*grid, 2),
        side,
        activity[:, 1:].view(-1, *grid),
        activity[:, 0],
        chances[1:, watched].view(grid),
        chances[1:].argmax(1).view(grid),
    )


def _activity(output: Tensor, unit: int, layer: str) -> Tensor:
    if unit >= output.shape[1]:
        has = output.shape[1]
        raise InputError(f"unit {unit} of {layer}: it has {has} units, counted from 0")
    return output[:, unit].clamp(min=0).flatten(1).sum(1) if output.ndim > 2 else output[:, unit]


def strongest_unit(model: Model, image: Float[Tensor, "3 h w"], layer: str) -> str:
    """Return "layer:unit" of the map that fires most strongly anywhere on a picture."""
    (output,) = answers(model, image[None], [layer])[0][layer]
    peaks = output.flatten(1).amax(1) if output.ndim > 1 else output
    return f"{layer}:{int(peaks.argmax())}"


def covered_by(image: Float[Tensor, "*n 3 h w"], boxes: Int[Tensor, "m 4"]) -> Images:
    """Cover boxes (y0, x0, y1, x1) with gray: each its own picture, or each on a copy of one."""
    images = image.expand(len(boxes), *image.shape[-3:]).clone()
    for picture, (y0, x0, y1, x1) in zip(images, boxes.clamp(min=0).tolist(), strict=True):
        picture[:, y0:y1, x0:x1] = GRAY
    return images


@dataclass(frozen=True)
class Invariance:
    """What moving pictures changes.

    Attributes:
        kind: "translation" down in pixels, "scale" as a factor, "rotation" in degrees.
        amounts: how far.
        distances: layer -> (amounts, images) |f(x) - f(Tx)| / |f(x)|.
        apart: layer -> the same between different pictures, the mean over pairs.
        probability: (amounts, images) of each picture's own class.
    """

    kind: str
    amounts: tuple[float, ...]
    distances: dict[str, Float[Tensor, "a n"]]
    apart: dict[str, float]
    probability: Float[Tensor, "a n"]


def invariance(
    model: Model,
    images: Images,
    labels: Int[Tensor, " n"],
    kind: str,
    amounts: Sequence[float],
    layers: Sequence[str],
) -> Invariance:
    """Move pictures and measure how far features of several layers move.

    Args:
        model: the network.
        images: in [0, 1].
        labels: class index of each.
        kind: "translation" (downwards), "scale" or "rotation" about the middle; gray comes in
            from outside.
        amounts: pixels, factors, or degrees.
        layers: dotted names or aliases, such as the first and a full one.

    Raises:
        NameNotFound: another kind.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 5; relative to |f(x)| here.
    """
    plain, _ = answers(model, images, layers)
    norms = {layer: acts.flatten(1).norm(dim=1) for layer, acts in plain.items()}
    distances: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    probability = []
    for amount in amounts:
        acts, scores = answers(model, moved(images, kind, amount), layers)
        probability.append(scores[torch.arange(len(images)), labels])
        for layer in layers:
            away = (plain[layer] - acts[layer]).flatten(1).norm(dim=1)
            distances[layer].append(away / norms[layer].clamp(min=1e-12))
    return Invariance(
        kind,
        tuple(amounts),
        {layer: torch.stack(rows) for layer, rows in distances.items()},
        {layer: _apart(acts.flatten(1)) for layer, acts in plain.items()},
        torch.stack(probability),
    )


def _apart(features: Float[Tensor, "n d"]) -> float:
    """Mean over pairs of different pictures of |f(x) - f(y)| / |f(x)|; 0 for a single one."""
    if len(features) < 2:
        return 0.0
    relative = torch.cdist(features, features) / features.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return float(relative.sum() / (len(features) * (len(features) - 1)))


def moved(images: Images, kind: str, amount: float) -> Images:
    """Move pictures by one amount, see `invariance`; the same size comes out."""
    size, drawn = tuple(images.shape[-2:]), torch.Generator()
    if kind == "translation":
        down = round(amount)
        return functional.pad(images, (0, 0, down, -down), value=GRAY)
    if kind == "scale":
        fitted = transforms.compose(transforms.scale((amount,)), transforms.fit(size))
        return fitted(images, drawn)
    if kind == "rotation":
        return transforms.rotate((amount,))(images, drawn)
    raise not_found("kind of movement", kind, ("translation", "scale", "rotation"))
