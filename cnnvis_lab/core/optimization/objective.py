"""Objectives: scores per image that can be added, subtracted and scaled; their evaluation."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

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
        layers: the layers whose outputs it reads; empty for a score of the image alone.
        score: function of activations, images and their indices, see `Score`.
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
        """Run images through the network; return the activations that the score reads.

        Args:
            model: any network.
            images: as the network receives them.
            index: positions of these images in the batch.
            layers: layers whose outputs are read.
        """
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
        raise InputError("per-image objectives cannot be added; add their parts first")

    __radd__ = __add__

    def run(
        self, model: nn.Module, images: Tensor, index: Tensor, layers: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """Run each image up to its own layer; return the outputs of the images that exit there.

        Args:
            model: as in `Objective.run`.
            images: as in `Objective.run`.
            index: as in `Objective.run`.
            layers: ignored; `exits` are read.
        """
        return activations_at(model, images, [self.exits[i] for i in index.tolist()])


@torch.no_grad()
def score_images(
    objective: Objective, model: nn.Module, images: Images, *, batch: int = 16
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
    seen: Float[Tensor, "n c rows columns"],
) -> list[Float[Tensor, " n"]]:
    """Evaluate objectives in one forward pass.

    Args:
        objectives: either all of them are a `PerImageObjective`, or none is.
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
        parts: (objective of one layer, number of its images) pairs.

    Raises:
        InputError: an objective reads no layer or several layers, or groups images.
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
