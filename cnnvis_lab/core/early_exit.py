"""Images that leave the forward pass each at a layer of its own, so that none goes too deep."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from . import hooks


@runtime_checkable
class KnowsOrder(Protocol):
    """A network that knows where its layers form a sequence."""

    def is_sequential_from(self, layer: str) -> bool:
        """Return whether everything after a layer depends on its output only."""


def activations_at(model: nn.Module, images: Tensor, exits: Sequence[str]) -> dict[str, Tensor]:
    """Run each image up to its own layer.

    If the network knows that it is sequential (`KnowsOrder`), an image leaves the batch at its
    layer and the others continue. Otherwise, because an earlier output may be read again, all
    images run up to the deepest layer.

    Args:
        model: any network.
        images: what it takes, batch first.
        exits: each image's layer, a dotted name or alias.

    Returns:
        Layer -> the outputs of the images that leave there, in the order of the batch.
    """
    layers = list(dict.fromkeys(exits))
    places = {
        layer: torch.tensor([i for i, e in enumerate(exits) if e == layer], device=images.device)
        for layer in layers
    }
    if len(layers) == 1 or not _is_sequential(model, layers):
        outputs = hooks.activations(model, images, layers)
        return {layer: outputs[layer][places[layer]] for layer in layers}
    flying, left = torch.arange(len(images), device=images.device), {}

    def leave(layer: str, output: Tensor) -> Tensor:
        nonlocal flying
        here = torch.isin(flying, places[layer])
        left[layer], flying = output[here], flying[~here]
        return output[~here]

    hooks.visit(model, images, {layer: partial(leave, layer) for layer in layers})
    return {layer: left[layer] for layer in layers}


def _is_sequential(model: nn.Module, layers: Sequence[str]) -> bool:
    return isinstance(model, KnowsOrder) and all(map(model.is_sequential_from, layers))
