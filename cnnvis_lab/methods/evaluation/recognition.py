"""What a network that took no part says of pictures: their class, how near real ones they are."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, hooks
from ...models import Model


def has_classes(judge: Model, classes: Sequence[str]) -> bool:
    """Return whether a network has classes of these names."""
    return set(classes) <= set(judge.card.classes)


@torch.no_grad()
def predict_names(judge: Model, images: Images, *, batch: int = 64) -> list[str]:
    """Return the class that a network which took no part gives each picture, by name.

    Args:
        judge: another network.
        images: pictures in [0, 1]; resized to its input.
        batch: pictures a pass.
    """
    found = [judge(_resize_to_input(judge, part)).argmax(1) for part in images.split(batch)]
    return [judge.card.classes[number] for number in torch.cat(found).tolist()]


def is_recognized(
    judge: Model, images: Images, classes: Sequence[str], *, batch: int = 64
) -> Float[Tensor, " n"]:
    """Return whether a network that took no part names each picture's class: 1 or 0.

    Args:
        judge: another network; it must know the classes by name.
        images: pictures in [0, 1]; resized to its input.
        classes: the class each picture was made for.
        batch: pictures a pass.

    Raises:
        InputError: a class the judge does not know.
    """
    if not has_classes(judge, classes):
        strange = min(set(classes) - set(judge.card.classes))
        raise InputError(
            f"{judge.card.name} does not know the class {strange!r}; choose another judge"
        )
    found = zip(predict_names(judge, images, batch=batch), classes, strict=True)
    return torch.tensor([float(name == wanted) for name, wanted in found])


def fraction_recognized(judge: Model, images: Images, classes: Sequence[str]) -> float:
    """Return the share of pictures whose class another network names; see `recognised`."""
    return float(is_recognized(judge, images, classes).mean())


@torch.no_grad()
def pooled_features(
    judge: Model, images: Images, *, layers: Sequence[str] = (), batch: int = 64
) -> Float[Tensor, "n features"]:
    """Return the mean and the largest value of every map of layers.

    Args:
        judge: another network.
        images: pictures in [0, 1]; resized to its input.
        layers: of maps, or full; the last before the classes by default.
        batch: pictures a pass.
    """
    layers, parts = list(layers) or [*judge.default_layers().values()][-2:-1], []
    for part in images.split(batch):
        outputs = hooks.activations(judge, _resize_to_input(judge, part), layers)
        maps = [
            outputs[layer].cpu().flatten(2 if outputs[layer].ndim > 2 else 1) for layer in layers
        ]
        maps = [m if m.ndim == 3 else m.unsqueeze(2) for m in maps]
        parts.append(torch.cat([pool for m in maps for pool in (m.mean(2), m.amax(2))], 1))
    return torch.cat(parts)


def distance_to_real(
    judge: Model, images: Images, real: Float[Tensor, "m 3 rows columns"]
) -> Float[Tensor, " n"]:
    """Return how far each picture is from its nearest real one, by all a network sees in it.

    Features are the pooled ones of all layers along the network, each in deviations over the real
    pictures: deep ones alone hardly answer to noise, and so would take it for near.

    Args:
        judge: a network that took no part.
        images: pictures to judge.
        real: pictures of a data set, two at least.

    Returns:
        Distances in units of the mean distance between a real picture and its nearest other: at 1
        a picture is as near as real ones are to each other.
    """
    layers = [*judge.default_layers().values()][:-1]
    wanted = pooled_features(judge, real, layers=layers)
    spread = wanted.std(0).clamp(min=1e-6)
    found = pooled_features(judge, images, layers=layers) / spread
    wanted = wanted / spread
    between = torch.cdist(wanted, wanted).fill_diagonal_(torch.inf).amin(1).mean()
    return torch.cdist(found, wanted).amin(1) / between


def _resize_to_input(judge: Model, images: Images) -> Float[Tensor, "n 3 rows columns"]:
    size = (judge.card.input_size,) * 2
    fitting = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    return fitting.to(judge.device)
