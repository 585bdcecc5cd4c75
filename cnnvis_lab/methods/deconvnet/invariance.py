"""Invariance: how far features move when images are translated, scaled or rotated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, Int, not_found
from ...core.optimization import transforms
from ...models import Model
from .occlusion import GRAY, forward

# How pictures are moved, and what the amounts count.
TRANSFORMATIONS = {"translation": "pixels down", "scale": "factor", "rotation": "degrees"}


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
    amounts = default_amounts(kind, images.shape[-1]) if amounts is None else amounts
    plain, chances = forward(model, images, layers)
    labels = chances.argmax(1) if labels is None else labels
    norms = {layer: acts.flatten(1).norm(dim=1) for layer, acts in plain.items()}
    distances: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    probability = []
    for amount in amounts:
        acts, scores = forward(model, transform_images(images, kind, amount), layers)
        probability.append(scores[torch.arange(len(images)), labels])
        for layer in layers:
            away = (plain[layer] - acts[layer]).flatten(1).norm(dim=1)
            distances[layer].append(away / norms[layer].clamp(min=1e-12))
    return Invariance(
        kind,
        tuple(amounts),
        {layer: torch.stack(rows) for layer, rows in distances.items()},
        {layer: _mean_distance(acts.flatten(1)) for layer, acts in plain.items()},
        torch.stack(probability),
    )


def default_amounts(kind: str, size: int) -> list[float]:
    """Return how far to move pictures of a size: a quarter, 0.6 to 1.6 times, all the way round."""
    amounts = {
        "translation": [round(size * n / 32) for n in range(-8, 9)],
        "scale": [n / 10 for n in range(6, 17)],
        "rotation": [*range(0, 360, 15)],
    }
    if kind not in amounts:
        raise not_found("kind of movement", kind, TRANSFORMATIONS)
    return amounts[kind]


def _mean_distance(features: Float[Tensor, "n d"]) -> float:
    """Mean over pairs of different pictures of |f(x) - f(y)| / |f(x)|; 0 for a single one."""
    if len(features) < 2:
        return 0.0
    relative = torch.cdist(features, features) / features.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return float(relative.sum() / (len(features) * (len(features) - 1)))


def transform_images(images: Images, kind: str, amount: float) -> Images:
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
    raise not_found("kind of movement", kind, TRANSFORMATIONS)
