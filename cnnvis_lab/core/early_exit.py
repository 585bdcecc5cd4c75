"""Images that leave the forward pass each at a layer of its own, so that none goes too deep."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from . import hooks


def activations_at(model: nn.Module, images: Tensor, exits: Sequence[str]) -> dict[str, Tensor]:
    """Run each image up to its own layer.

    Where the network is a chain, an image leaves the batch at its layer and the rest goes on;
    elsewhere, where an earlier output may be needed again, all images go as far as the deepest.

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
    if len(layers) == 1 or not all(is_sequential_from(model, layer) for layer in layers):
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


def is_sequential_from(model: nn.Module, layer: str) -> bool:
    """Return whether nothing behind a layer reads what lies before it.

    True below sequential containers only; the outermost modules may be the house's own wrapper
    and one of torchvision's classifiers, whose stages follow one another. Vision transformers'
    do not: what cuts a picture into tokens is told how many pictures there are.
    """
    module: nn.Module = model
    for depth, name in enumerate(hooks.resolve(model, layer).split(".")):
        home = type(module).__module__
        known = home.startswith(("torchvision.models", "cnnvis_lab.models"))
        known = known and not home.endswith("vision_transformer")
        if not isinstance(module, nn.Sequential) and not (known and depth < 2):
            return False
        module = module.get_submodule(name)
    return True
