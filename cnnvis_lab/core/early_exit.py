"""Early exit: run each image of a batch only up to a layer of its own."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from . import hooks


def activations_at(model: nn.Module, images: Tensor, exits: Sequence[str]) -> dict[str, Tensor]:
    """Run each image up to its own layer.

    If the network has a method `is_sequential_from(layer)`, and if it confirms for each of the
    layers that everything after it depends on its output only, each image leaves the batch at its
    layer. Otherwise all images run up to the deepest layer, because an earlier output may be read
    again.

    Args:
        model: any network.
        images: the network's input, batch first.
        exits: each image's layer, a dotted name or alias.

    Returns:
        Layer -> the outputs of the images that exit there, in the order of the batch.
    """
    layers = list(dict.fromkeys(exits))
    rows = {
        layer: torch.tensor([i for i, e in enumerate(exits) if e == layer], device=images.device)
        for layer in layers
    }
    if len(layers) == 1 or not _is_sequential(model, layers):
        outputs = hooks.activations(model, images, layers)
        return {layer: outputs[layer][rows[layer]] for layer in layers}
    running, outputs = torch.arange(len(images), device=images.device), {}

    def leave(layer: str, output: Tensor) -> Tensor:
        nonlocal running
        here = torch.isin(running, rows[layer])
        outputs[layer], running = output[here], running[~here]
        return output[~here]

    hooks.visit(model, images, {layer: partial(leave, layer) for layer in layers})
    return {layer: outputs[layer] for layer in layers}


def _is_sequential(model: nn.Module, layers: Sequence[str]) -> bool:
    decide = getattr(model, "is_sequential_from", None)
    return callable(decide) and all(decide(layer) for layer in layers)
