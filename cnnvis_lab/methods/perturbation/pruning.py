"""Pruning: remove feature maps from a network, which then has fewer weights and multiplications.

This works for sequential networks, such as the AlexNet family and VGG, where every layer reads only
the output of the previous one. The weights that read a removed map are removed from the next layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core import Float, Images, InputError, Int, copies, features, hooks
from ...models import Model, graph
from .perturb import accuracy

WEIGHTED_LAYERS = (nn.Conv2d, nn.Linear)


class PruningResult(NamedTuple):
    """Accuracy and cost of a pruned network.

    Attributes:
        fraction: fraction of the feature maps that was removed.
        accuracy: fraction of the images that are classified correctly.
        parameters: number of parameters of the whole network.
        multiply_adds: number of multiply-adds for one image.
    """

    fraction: float
    accuracy: float
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class PruningSite:
    """The layers that change when feature maps are removed.

    Attributes:
        producer: name of the layer with weights that computes the maps.
        norms: names of the batch normalizations after it.
        consumer: name of the next layer with weights.
    """

    producer: str
    norms: tuple[str, ...]
    consumer: str


def pruning_site(model: Model, layer: str, trace: graph.CallTrace | None = None) -> PruningSite:
    """Return which layers change when maps of `layer` are removed.

    Args:
        model: the network.
        layer: dotted name or alias.
        trace: the calls of the network's modules; None to run it.

    Raises:
        InputError: the network is not sequential; `layer` contains several layers; its maps are the
            image or the classes; or grouped convolutions or response normalization mix them with
            their neighbors.
        NameNotFound: no such layer.
    """
    order = (trace or model.trace_calls()).sequential_layers()
    modules = dict(model.net.named_modules())
    name = hooks.resolve(model, layer).removeprefix("net.")
    if name not in order:
        raise InputError(f"{layer} contains several layers; name one of them")
    position = order.index(name)
    weighted = [n for n, other in enumerate(order) if isinstance(modules[other], WEIGHTED_LAYERS)]
    before, after = [n for n in weighted if n <= position], [n for n in weighted if n > position]
    if not before or not after:
        raise InputError(f"maps of {layer} cannot be removed: they are the image or the classes")
    producer, *between, consumer = order[before[-1] : after[0] + 1]
    for other in (producer, consumer, *between):
        module = modules[other]
        grouped = isinstance(module, nn.Conv2d) and module.groups > 1
        if grouped or isinstance(module, nn.LocalResponseNorm):
            raise InputError(
                f"maps of {layer} cannot be removed: {other} mixes them with their neighbors"
            )
    norms = tuple(n for n in between if isinstance(modules[n], _BatchNorm))
    return PruningSite(producer, norms, consumer)


def is_prunable(model: Model, layer: str, trace: graph.CallTrace | None = None) -> bool:
    """Return whether `prune` can remove maps of a layer.

    Args:
        model: the network.
        layer: dotted name or alias.
        trace: see `pruning_site`.
    """
    try:
        pruning_site(model, layer, trace)
    except InputError:
        return False
    return True


def prune(model: Model, keep: Mapping[str, Sequence[int]]) -> Model:
    """Return a smaller network without some of its feature maps.

    Args:
        model: a sequential network.
        keep: layer -> its maps, or units, to keep.

    Raises:
        InputError: maps of a layer cannot be removed, see `pruning_site`; no unit is kept, or one
            is out of range.
    """
    net, trace = copies.copy_network(model.net), model.trace_calls()
    for layer, units in keep.items():
        site = pruning_site(model, layer, trace)
        count = len(weight_of(net, site.producer))
        kept = check_units(units, count, layer)
        _cut_inputs(net.get_submodule(site.consumer), kept, count)
        for name in (site.producer, *site.norms):
            _cut_outputs(net.get_submodule(name), kept)
    card = replace(model.card, origin=f"{model.card.origin}, pruned", accuracy=None)
    return Model(net, card, model.survey_layers)


def weight_of(net: nn.Module, name: str) -> Tensor:
    """Return the weight of a convolution or fully connected layer."""
    return net.get_parameter(f"{name}.weight")


def check_units(units: Sequence[int], count: int, layer: str) -> Int[Tensor, " kept"]:
    """Return the units to keep, sorted.

    Args:
        units: indices in any order; repeated ones count once.
        count: number of units of the layer.
        layer: its name, for the message.

    Raises:
        InputError: `units` is empty, or one is out of range.
    """
    kept = torch.tensor(sorted(set(units)), dtype=torch.int64)
    if not len(kept) or kept[0] < 0 or kept[-1] >= count:
        raise InputError(f"units of {layer} to keep: expected some of 0 to {count - 1}")
    return kept


def _cut_outputs(module: nn.Module, kept: Int[Tensor, " kept"]) -> None:
    for name in ("weight", "bias"):
        value = getattr(module, name)
        if value is not None:
            setattr(module, name, nn.Parameter(value[kept.to(value.device)], requires_grad=False))
    for name in ("running_mean", "running_var"):
        value = getattr(module, name, None)
        if value is not None:
            module.register_buffer(name, value[kept.to(value.device)])
    for name in ("out_channels", "out_features", "num_features"):
        if hasattr(module, name):
            setattr(module, name, len(kept))


def _cut_inputs(module: nn.Module, kept: Int[Tensor, " kept"], count: int) -> None:
    """Remove weights; a fully connected layer after maps reads each map at many positions."""
    weight = module.get_parameter("weight")
    by_map = weight.unflatten(1, (count, -1))[:, kept.to(weight.device)].flatten(1, 2)
    module.weight = nn.Parameter(by_map.contiguous(), requires_grad=False)
    name = "in_channels" if isinstance(module, nn.Conv2d) else "in_features"
    setattr(module, name, by_map.shape[1])


def mask_edit(flags: Float[Tensor, " units"]) -> hooks.Edit:
    """Return an edit that sets the maps, or units, whose flag is 0 to zero."""
    return lambda output: output * flags.view(1, -1, *[1] * (output.ndim - 2))


def cost(model: Model) -> tuple[int, int]:
    """Return a network's numbers of parameters and of multiply-adds for one image."""
    total = 0
    for call in model.trace_calls().calls:
        if isinstance(call.module, WEIGHTED_LAYERS) and isinstance(call.output, Tensor):
            total += call.output[0].numel() * call.module.weight[0].numel()
    return sum(p.numel() for p in model.parameters()), total


def evaluate_pruned(
    model: Model, images: Images, classes: Int[Tensor, " n"], fraction: float = 0.0
) -> PruningResult:
    """Measure accuracy and cost of a network.

    Args:
        model: the network, after pruning.
        images: (n, 3, size, size) in [0, 1].
        classes: (n,) their classes.
        fraction: fraction of the maps that was removed.
    """
    right = accuracy(features.predict(model, images), classes)
    return PruningResult(fraction, right, *cost(model))
