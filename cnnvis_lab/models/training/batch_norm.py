"""Batch normalization for training: added after every layer, and folded into it afterwards.

A folded network computes the same function in eval mode, and has the names of the plain layers.
"""

import copy
from collections import OrderedDict
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ...core import InputError

_BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d
_WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def add_batch_norm(net: nn.Sequential, plain: int = 1) -> nn.Sequential:
    """Add batch normalization after every layer with weights, except the last `plain` ones."""
    weighted = [name for name, layer in net.named_children() if isinstance(layer, _WEIGHTED)]
    normalized = weighted[:-plain]
    layers: list[tuple[str, nn.Module]] = []
    for name, layer in net.named_children():
        layers.append((name, layer))
        if name not in normalized:
            continue
        if isinstance(layer, nn.Linear):
            layers.append((f"bn_{name}", nn.BatchNorm1d(layer.out_features)))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layers.append((f"bn_{name}", nn.BatchNorm2d(layer.out_channels)))
    return nn.Sequential(OrderedDict(layers))


def fold_batch_norm(net: nn.Module) -> nn.Sequential:
    """Fold batch normalization into preceding layers; the function in eval mode stays the same."""
    children = [*net.named_children(), ("", nn.Identity())]
    return nn.Sequential(
        OrderedDict(
            (name, _fuse(layer, after) if isinstance(layer, _WEIGHTED) else layer)
            for (name, layer), (_, after) in pairwise(children)
            if not isinstance(layer, _BATCH_NORMS)
        )
    ).eval()


def _fuse(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, after: nn.Module) -> nn.Module:
    if not isinstance(after, _BATCH_NORMS):
        return layer
    mean, variance = after.running_mean, after.running_var
    if mean is None or variance is None:
        raise InputError("batch normalization without running statistics cannot be folded")
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        layer.weight,
        layer.bias,
        mean,
        variance,
        after.eps,
        after.weight,
        after.bias,
        transpose=isinstance(layer, nn.ConvTranspose2d),
    )
    return fused
