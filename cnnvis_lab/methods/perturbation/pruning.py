"""Pruning: feature maps removed for good, as smaller tensors that need fewer multiplications.

Works on chains: networks whose every layer reads the one before and nothing else, such as the
AlexNet family and VGG. What a removed map gave the next layer is cut out of that layer's weights.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core import Float, Images, InputError, Int, features, hooks
from ...models import Model, weights
from .perturb import accuracy

WEIGHTED_LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class PruningResult:
    """What a network is like with a share of one layer's maps removed.

    Attributes:
        share: of the maps that were removed.
        accuracy: share of the pictures named right.
        parameters: of the whole network.
        multiply_adds: for one picture.
    """

    share: float
    accuracy: float
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class _PruningSite:
    """Where maps are cut: between the layer that makes them and the one that reads them.

    Attributes:
        maker: name of the layer with weights that makes the maps.
        norms: batch normalisations in between.
        reader: name of the next layer with weights.
    """

    maker: str
    norms: tuple[str, ...]
    reader: str


def _pruning_site(model: Model, layer: str) -> _PruningSite:
    order, modules = model.trace_calls().sequential_layers(), dict(model.net.named_modules())
    name = hooks.resolve(model, layer).removeprefix("net.")
    if name not in order:
        raise InputError(f"{layer} holds several layers; name one of them")
    place = order.index(name)
    weighted = [n for n, other in enumerate(order) if isinstance(modules[other], WEIGHTED_LAYERS)]
    before, after = ([n for n in weighted if n <= place], [n for n in weighted if n > place])
    if not before or not after:
        raise InputError(f"maps of {layer} cannot be removed: they are the picture or the classes")
    between = order[before[-1] + 1 : after[0]]
    for end in (order[before[-1]], order[after[0]], *between):
        if isinstance(modules[end], nn.LocalResponseNorm) or getattr(modules[end], "groups", 1) > 1:
            raise InputError(
                f"maps of {layer} cannot be removed: {end} ties them to their neighbours"
            )
    norms = tuple(n for n in between if isinstance(modules[n], _BatchNorm))
    return _PruningSite(order[before[-1]], norms, order[after[0]])


def is_prunable(model: Model, layer: str) -> bool:
    """Return whether `prune` can remove maps of a layer."""
    try:
        _pruning_site(model, layer)
    except InputError:
        return False
    return True


def prune(model: Model, keep: Mapping[str, Sequence[int]]) -> Model:
    """Return a smaller network without some of its maps.

    Args:
        model: a chain.
        keep: layer -> its maps, or units, that stay.

    Raises:
        InputError: the network is no chain; grouped convolutions or response normalisation would
            mix what stays with what goes; nothing stays, or a unit is out of range.
    """
    net = copy.deepcopy(model.net)
    for layer, units in keep.items():
        joint, modules = _pruning_site(model, layer), dict(net.named_modules())
        kept = _check_units(units, modules[joint.maker].weight.shape[0], layer)
        _cut_inputs(modules[joint.reader], kept, modules[joint.maker].weight.shape[0])
        for name in (joint.maker, *joint.norms):
            _cut_outputs(modules[name], kept)
    card = replace(model.card, origin=f"{model.card.origin}, pruned", accuracy=None)
    return Model(net, card, model.survey_layers)


def _check_units(units: Sequence[int], count: int, layer: str) -> Int[Tensor, " kept"]:
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
        if getattr(module, name, None) is not None:
            module.register_buffer(name, getattr(module, name)[kept.to(module.weight.device)])
    for name in ("out_channels", "out_features", "num_features"):
        if hasattr(module, name):
            setattr(module, name, len(kept))


def _cut_inputs(module: nn.Module, kept: Int[Tensor, " kept"], count: int) -> None:
    """Cut the columns; a full layer behind a map reads each channel at many positions."""
    weight = module.weight
    by_channel = weight.unflatten(1, (count, -1))[:, kept.to(weight.device)].flatten(1, 2)
    module.weight = nn.Parameter(by_channel.contiguous(), requires_grad=False)
    name = "in_channels" if isinstance(module, nn.Conv2d) else "in_features"
    setattr(module, name, by_channel.shape[1])


@contextmanager
def mask_units(model: Model, keep: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Set the other maps to zero inside the block: what pruning removes, at full size."""
    edits = {}
    for layer, units in keep.items():
        joint = _pruning_site(model, layer)
        place = joint.norms[-1] if joint.norms else joint.maker
        count = model.net.get_submodule(joint.maker).weight.shape[0]
        flags = torch.zeros(count, device=model.device)
        flags[_check_units(units, count, layer)] = 1
        edits[place] = mask_edit(flags)
    with hooks.edit(model, edits):
        yield


def mask_edit(flags: Float[Tensor, " units"]) -> hooks.Edit:
    """Return what sets maps, or units, to zero whose flag is 0."""
    return lambda output: output * flags.view(1, -1, *[1] * (output.ndim - 2))


def cost(model: Model) -> tuple[int, int]:
    """Return a network's parameters, and its multiply-adds for one picture."""
    total = 0

    def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal total
        per_output = module.weight[0].numel()
        total += output.numel() // len(output) * per_output

    found = [module for module in model.modules() if isinstance(module, WEIGHTED_LAYERS)]
    handles = [module.register_forward_hook(count) for module in found]
    try:
        with torch.no_grad():
            size = model.card.input_size
            model(torch.zeros(1, 3, size, size, device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    return sum(p.numel() for p in model.parameters()), total


def kernel_norms(model: Model, layer: str) -> Float[Tensor, " units"]:
    """Return the norm of the weights that make each of a layer's maps."""
    return (
        model.net.get_submodule(_pruning_site(model, layer).maker)
        .weight.flatten(1)
        .norm(dim=1)
        .cpu()
    )


def pruning_curve(
    model: Model,
    layer: str,
    order: Sequence[int],
    shares: Sequence[float],
    images: Images,
    classes: Int[Tensor, " n"],
) -> list[PruningResult]:
    """Remove ever more of a layer's maps and look at what is left.

    Args:
        model: a chain.
        layer: dotted name or alias.
        order: its units, the one to go first in front.
        shares: of the maps to remove; at least one map always stays.
        images: pictures in [0, 1].
        classes: their classes.
    """
    points = []
    for share in shares:
        gone = min(round(share * len(order)), len(order) - 1)
        small = prune(model, {layer: order[gone:]})
        right = accuracy(features.predict(small, images), classes)
        points.append(PruningResult(gone / len(order), right, *cost(small)))
    return points


def save_pruned(model: Model, path: str | Path) -> None:
    """Write a pruned network's weights; `models.load(name, weights=path)` reads them back."""
    weights.write_pruned(model.net, path, model.card.name)
