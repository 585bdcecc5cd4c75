"""What inversion starts from and gives: codes of pictures, and pictures found for codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core import hooks
from ..core.shapes import Float, Images
from ..models import Model


@dataclass(frozen=True)
class Inversion:
    """Pictures found for codes.

    Attributes:
        layers: whose codes.
        images: (layers, n, starts, 3, size, size), in [0, 1] unless the recipe is unbounded.
        errors: (layers, n, starts) ||f(x) - f0|| / ||f0|| of these pictures as they are.
        history: (steps, layers, n, starts) the same at every step, as the network was shown them;
            NaN once a picture was good enough.
        interrupted: whether the descent was stopped early.
    """

    layers: tuple[str, ...]
    images: Float[Tensor, "layers n starts 3 h w"]
    errors: Float[Tensor, "layers n starts"]
    history: Float[Tensor, "steps layers n starts"]
    interrupted: bool

    def __getitem__(self, layer: str) -> Images:
        """Return a layer's pictures, one start after the other for each code."""
        return self.images[self.layers.index(layer)].flatten(0, 1)

    @property
    def steps(self) -> Float[Tensor, "layers n starts"]:
        """How many steps each picture took."""
        return (~self.history.isnan()).sum(0).float()


@torch.no_grad()
def encode(
    model: Model, layers: Sequence[str], images: Images, *, batch: int = 64
) -> dict[str, Float[Tensor, "n ..."]]:
    """Return layers' features of pictures.

    Args:
        model: the network.
        layers: dotted names or aliases.
        images: (n, 3, size, size) of the network's input size.
        batch: pictures a pass.
    """
    parts = [
        hooks.activations(model, part.to(model.mean.device), layers) for part in images.split(batch)
    ]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


@torch.no_grad()
def scores(model: Model, images: Images, *, batch: int = 64) -> Float[Tensor, "n classes"]:
    """Return the class scores a network gives pictures, `batch` a pass.

    They are the network's own, which may average its "logits" over places.
    """
    parts = [model(part.to(model.mean.device)).flatten(1) for part in images.split(batch)]
    return torch.cat(parts).cpu()


def feature_error(
    found: Float[Tensor, "n ..."],
    wanted: Float[Tensor, "n ..."],
    mask: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, " n"]:
    """Return ||f - f0|| / ||f0|| of each picture's features.

    Source: Mahendran and Vedaldi 2016, normalised reconstruction error.
    """
    if mask is not None:
        found, wanted = found * mask.to(found), wanted * mask.to(wanted)
    size = wanted.flatten(1).norm(dim=1).clamp(min=1e-12)
    return ((found - wanted).flatten(1).norm(dim=1) / size).cpu()


def gathered(
    model: Model,
    codes: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    found: Mapping[str, tuple[Images, Tensor, bool]],
    shape: tuple[int, int],
) -> Inversion:
    """Put layers' pictures and squared errors together.

    Args:
        model: the network.
        codes: what was asked for.
        masks: layer -> which features count.
        found: layer -> its pictures, their squared errors by step, whether it was interrupted.
        shape: numbers of codes and of starts.
    """
    images = torch.stack([found[layer][0] for layer in codes])
    longest = max(len(found[layer][1]) for layer in codes)
    history = torch.full((longest, *images.shape[:2]), torch.nan)
    errors = torch.empty(images.shape[:2])
    for number, layer in enumerate(codes):
        watched = found[layer][1]
        history[: len(watched), number] = watched
        wanted = codes[layer].repeat_interleave(shape[1], 0)
        own = encode(model, [layer], images[number])[layer]
        errors[number] = feature_error(own, wanted, masks.get(layer))
    return Inversion(
        tuple(codes),
        images.unflatten(1, shape),
        errors.unflatten(1, shape),
        history.sqrt().unflatten(2, shape),
        any(interrupted for *_, interrupted in found.values()),
    )
