"""Batch normalisation for training only: put behind every layer, then folded into it.

What is folded computes the same in eval mode and has the plain layers' names.
"""

import copy
from collections import OrderedDict
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d


def add_batch_norm(net: nn.Sequential) -> nn.Sequential:
    """Put a batch normalisation behind every layer, but for one that ends the net."""
    layers: list[tuple[str, nn.Module]] = []
    for name, layer in net.named_children():
        layers.append((name, layer))
        if isinstance(layer, nn.Linear):
            layers.append((f"bn_{name}", nn.BatchNorm1d(layer.out_features)))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layers.append((f"bn_{name}", nn.BatchNorm2d(layer.out_channels)))
    if layers[-1][0].startswith("bn_"):
        layers.pop()
    return nn.Sequential(OrderedDict(layers))


def fold_batch_norm(net: nn.Sequential) -> nn.Sequential:
    """Fold batch normalisations into the layers before them: the same function in eval mode."""
    children = [*net.named_children(), ("", nn.Identity())]
    return nn.Sequential(
        OrderedDict(
            (name, _fuse(layer, after) if isinstance(after, _BATCH_NORMS) else layer)
            for (name, layer), (_, after) in pairwise(children)
            if not isinstance(layer, _BATCH_NORMS)
        )
    ).eval()


def _fuse(layer: nn.Module, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    transposed = {"transpose": True} if isinstance(layer, nn.ConvTranspose2d) else {}
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        **transposed,
    )
    return fused
