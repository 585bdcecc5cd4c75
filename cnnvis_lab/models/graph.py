"""Which module reads which: sequential networks, ReLUs behind layers, the class scores."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core import InputError, hooks
from .model import Model


def modules_up_to(model: Model, last: str) -> list[str]:
    """Modules from the picture to the last, looking only inside containers."""

    def walk(module: nn.Module, prefix: str) -> list[str]:
        found = []
        for name, child in module.named_children():
            inside = isinstance(child, nn.Sequential | nn.ModuleList)
            found += walk(child, f"{prefix}{name}.") if inside else [prefix + name]
        return found

    names = walk(model.net, "net.")
    if last not in names:
        raise InputError(f"layer {last!r} is a part of a block; choose the block, or another layer")
    return names[: names.index(last) + 1]


class ModuleCall(NamedTuple):
    """One run of a module: its name, itself, its first input and its output."""

    name: str
    module: nn.Module
    given: object
    output: object


@torch.no_grad()
def record_calls(model: Model) -> tuple[list[ModuleCall], Tensor]:
    """Run the network on noise; return what each module did, in order of ending, and the scores."""
    calls: list[ModuleCall] = []

    def noted(name: str) -> object:
        return lambda module, inputs, output: calls.append(
            ModuleCall(name, module, inputs[0], output)
        )

    named = [(name, module) for name, module in model.net.named_modules() if name]
    handles = [module.register_forward_hook(noted(name)) for name, module in named]
    try:
        size, drawn = model.card.input_size, torch.Generator().manual_seed(0)
        return calls, model(torch.rand(1, 3, size, size, generator=drawn).to(model.mean.device))
    finally:
        for handle in handles:
            handle.remove()


def relu_after(model: Model, layer: str, calls: Sequence[ModuleCall]) -> str:
    """Return the ReLU that reads a layer, perhaps normalised; the layer if it is followed by none.

    A ReLU that runs several times in a pass stands for none.
    """
    if (after := model.after_relu(layer)) != layer:
        return after
    names = [call.name for call in calls]
    name = hooks.resolve(model, layer).removeprefix("net.")
    while names.count(name) == 1:
        output = calls[names.index(name)].output
        reader = next((call for call in calls if call.given is output), None)
        if reader and isinstance(reader.module, nn.ReLU) and names.count(reader.name) == 1:
            return reader.name
        if not (reader and isinstance(reader.module, _BatchNorm)):
            break
        name = reader.name
    return layer


def score_layer(calls: Sequence[ModuleCall], last: Tensor) -> str:
    """Return the first layer that gives the class scores as they are: one number a class.

    That may lie behind the "logits" layer, whose maps of the classes are then averaged over places.
    """
    told = last.flatten()
    alike = (
        call.name
        for call in calls
        if isinstance(call.output, Tensor) and torch.equal(call.output.flatten(), told)
    )
    return next(alike, "logits")


def sequential_layers(model: Model) -> list[str]:
    """Return the network's modules without children, in the order in which they run.

    Raises:
        InputError: one of them reads something else than what the one before gave.
    """
    ran: list[tuple[str, Tensor, Tensor]] = []

    def noted(name: str) -> object:
        return lambda module, inputs, output: ran.append((name, inputs[0], output))

    leaves = [(n, m) for n, m in model.net.named_modules() if not any(True for _ in m.children())]
    handles = [module.register_forward_hook(noted(name)) for name, module in leaves]
    try:
        size, drawn = model.card.input_size, torch.Generator().manual_seed(0)
        with torch.no_grad():
            model(torch.rand(1, 3, size, size, generator=drawn).to(model.mean.device))
    finally:
        for handle in handles:
            handle.remove()
    for (_, _, given), (name, taken, _) in pairwise(ran):
        if given.numel() != taken.numel() or not torch.equal(given.flatten(), taken.flatten()):
            raise InputError(
                f"{model.card.name} is no chain: {name} reads more than the layer before it; "
                "remove maps of a sequential network such as alexnet or vgg16"
            )
    return [name for name, *_ in ran]
