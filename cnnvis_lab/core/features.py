"""Features and class scores of any number of images, computed in batches."""

from collections.abc import Collection, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from . import hooks
from .errors import InputError
from .types import Float, Images


@torch.no_grad()
def extract(
    model: nn.Module, images: Images, layers: Collection[str], *, batch: int = 64
) -> dict[str, Float[Tensor, "n ..."]]:
    """Return the activations of layers for images, on the network's device.

    Args:
        model: any network.
        images: of the size that the network expects.
        layers: dotted names or aliases.
        batch: images per forward pass.

    Returns:
        Layer -> (n, ...) activations.

    Raises:
        NameNotFound: no such layer.
    """
    device = _device(model)
    parts = [hooks.activations(model, part.to(device), layers) for part in images.split(batch)]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


@torch.no_grad()
def predict(model: nn.Module, images: Images, *, batch: int = 64) -> Float[Tensor, "n classes"]:
    """Return the class scores of images, on the CPU.

    These are the network's outputs. A network may average its "logits" layer over positions first.

    Args:
        model: any classifier.
        images: of the size that the network expects.
        batch: images per forward pass.
    """
    device = _device(model)
    return torch.cat([model(part.to(device)).flatten(1) for part in images.split(batch)]).cpu()


def _first_tensor(model: nn.Module) -> Tensor:
    return next(chain(model.parameters(), model.buffers()), torch.empty(0))


def _device(model: nn.Module) -> torch.device:
    return _first_tensor(model).device


@torch.no_grad()
def memory_format(model: nn.Module, image: Images, layers: Sequence[str]) -> torch.memory_format:
    """Return channels last, which is faster, if layers can be computed so; otherwise contiguous.

    A network that calls `view` on its maps takes contiguous ones only.

    Args:
        model: any network.
        image: an image.
        layers: dotted names or aliases.
    """
    try:
        hooks.activations(model, image.to(memory_format=torch.channels_last), layers)
    except RuntimeError:
        return torch.contiguous_format
    return torch.channels_last


def input_channels(model: nn.Module) -> int:
    """Return the number of channels of a network's images.

    A network that does not state it (`Model` does) is taken to read the image by the convolution
    that is defined first.
    """
    stated = getattr(model, "channels", None)
    if isinstance(stated, int):
        return stated
    convs = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return next((conv.in_channels for conv in convs), 3)


def blank_image(
    model: nn.Module, size: int | tuple[int, int], value: float = 0.0
) -> Float[Tensor, "1 c h w"]:
    """Return an image of one value, on the network's device and of its numbers' type.

    Args:
        model: any network.
        size: size of a square, or (height, width), in pixels.
        value: of all pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = (1, input_channels(model), height, width)
    return torch.full(shape, value, dtype=_first_tensor(model).dtype, device=_device(model))


def require_units(output: Tensor, layer: str) -> None:
    """Check that a layer has units: maps, or one number for each.

    Args:
        output: of the layer, batch first.
        layer: its name, for the message.

    Raises:
        InputError: it has tokens, as in transformers, whose second axis is not that of units.
    """
    if output.ndim == 3:
        tokens, width = output.shape[1:]
        raise InputError(
            f"layer {layer} gives {tokens} tokens of {width} numbers for an image, not units; "
            "choose a layer with maps (units, height, width), such as a convolution, or logits"
        )
