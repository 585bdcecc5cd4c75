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
# How pictures are moved, and what the amounts count.
KINDS = {"translation": "pixels down", "scale": "factor", "rotation": "degrees"}
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

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The first square's y0, x0, y1, x1."""
        return 0, 0, self.side, self.side

    def covered(self, values: Float[Tensor, "h w"]) -> Float[Tensor, "y x"]:
        """Return the sum of each square's pixels, of values of the picture's size."""
        sums = functional.avg_pool2d(values[None, None], self.side, 1, divisor_override=1)[0, 0]
        return sums[self.corners[..., 0], self.corners[..., 1]]

    def energy(self, projection: Float[Tensor, "3 h w"]) -> Float[Tensor, "y x"]:
        """Return how much of a projection's energy each square covers."""
        return self.covered((projection**2).sum(0))

    def on_pixels(self, values: Float[Tensor, "y x"]) -> Float[Tensor, "h w"]:
        """Return, for each pixel, the mean of what was measured by the squares that cover it."""
        height, width = (self.corners[-1, -1] + self.side).tolist()
        sums, counts = torch.zeros(2, height, width)
        for (y, x), value in zip(self.corners.flatten(0, 1), values.flatten(), strict=True):
            sums[y : y + self.side, x : x + self.side] += value
            counts[y : y + self.side, x : x + self.side] += 1
        return sums / counts.clamp(min=1)


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
        step: from place to place, in pixels, at most; the last places lie at the border.

    Raises:
        InputError: a square that is larger than the picture.

    Source: Zeiler and Fergus 2013, section 4.2 and figure 7.
    """
    height, width = image.shape[-2:]
    if not (0 < side <= min(height, width) and step > 0):
        raise InputError(f"square of {side}, step {step}: the picture has {height}x{width} pixels")
    rows, columns = (_places(length - side, step) for length in (height, width))
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


def _places(last: int, step: int) -> Int[Tensor, " places"]:
    """Evenly from 0 to the last, no further apart than a step."""
    return torch.linspace(0, last, 1 + -(-last // step)).round().long()


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

    @property
    def curves(self) -> dict[str, tuple[tuple[float, ...], Float[Tensor, " a"]]]:
        """Layer, or "p(class)" -> amounts, and the mean over images.

        Distances are over those between different pictures: at 1, a moved picture is another.
        """
        lines = {
            layer: rows.mean(1) / max(self.apart[layer], 1e-12)
            for layer, rows in self.distances.items()
        }
        lines["p(class)"] = self.probability.mean(1)
        return {name: (self.amounts, line) for name, line in lines.items()}

    @property
    def means(self) -> dict[str, float]:
        """The curves' means over the amounts."""
        return {name: float(line.mean()) for name, (_, line) in self.curves.items()}


def invariance(
    model: Model,
    images: Images,
    labels: Int[Tensor, " n"] | None,
    kind: str,
    amounts: Sequence[float] | None,
    layers: Sequence[str],
) -> Invariance:
    """Move pictures and measure how far features of several layers move.

    Args:
        model: the network.
        images: in [0, 1].
        labels: class index of each; None for those that the network names.
        kind: "translation" (downwards), "scale" or "rotation" about the middle; gray comes in
            from outside.
        amounts: pixels, factors, or degrees; None for `usual_amounts`.
        layers: dotted names or aliases, such as the first and a full one.

    Raises:
        NameNotFound: another kind.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 5; relative to |f(x)| here.
    """
    amounts = usual_amounts(kind, images.shape[-1]) if amounts is None else amounts
    plain, chances = answers(model, images, layers)
    labels = chances.argmax(1) if labels is None else labels
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


def usual_amounts(kind: str, size: int) -> list[float]:
    """Return how far to move pictures of a size: a quarter, 0.6 to 1.6 times, all the way round."""
    amounts = {
        "translation": [round(size * n / 32) for n in range(-8, 9)],
        "scale": [n / 10 for n in range(6, 17)],
        "rotation": [*range(0, 360, 15)],
    }
    if kind not in amounts:
        raise not_found("kind of movement", kind, KINDS)
    return amounts[kind]


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
    raise not_found("kind of movement", kind, KINDS)
