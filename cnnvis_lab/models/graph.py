"""Which module reads which output, from the module tree or from a recorded forward pass."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core import InputError, hooks


def blocks(net: nn.Module, prefix: str = "") -> list[str]:
    """Return the names of a network's blocks, in the order of definition.

    Sequential containers and module lists are entered; any other module is one block.
    """
    names = []
    for name, child in net.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            names += blocks(child, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def blocks_up_to(net: nn.Module, last: str) -> list[str]:
    """Return the blocks from the input to the block `last`.

    Raises:
        InputError: `last` is not a block, but part of one.
    """
    names = blocks(net)
    if last not in names:
        raise InputError(f"layer {last!r} is a part of a block; choose the block, or another layer")
    return names[: names.index(last) + 1]


def conv_blocks(net: nn.Module) -> list[str]:
    """Return the blocks that contain convolutions, in the order of definition."""
    return [
        name
        for name in blocks(net)
        if any(isinstance(module, nn.Conv2d) for module in net.get_submodule(name).modules())
    ]


def class_layer(net: nn.Module, classes: int) -> str:
    """Return the last module with one output per class; "" (the network itself) if none has."""
    scoring = [
        name
        for name, module in net.named_modules()
        if getattr(module, "out_features", getattr(module, "out_channels", None)) == classes
    ]
    return scoring[-1] if scoring else ""


def is_sequential_from(net: nn.Module, layer: str) -> bool:
    """Return whether everything after `layer` depends on the layer's output only.

    This is decided from the module tree: true inside sequential containers, also those of a
    torchvision classifier whose stages follow one another. Vision transformers are excluded,
    because their tokenizer depends on the batch size.

    Args:
        net: the network, not wrapped in a `Model`.
        layer: dotted name of a module; "" for the network itself.
    """
    home = type(net).__module__
    is_classifier = home.startswith("torchvision.models")
    is_classifier = is_classifier and not home.endswith("vision_transformer")
    module = net
    for name in filter(None, layer.split(".")):
        if not (isinstance(module, nn.Sequential) or (module is net and is_classifier)):
            return False
        module = module.get_submodule(name)
    return True


class ModuleCall(NamedTuple):
    """One call of a module: its name, the module, its first input and its output."""

    name: str
    module: nn.Module
    given: object
    output: object


@dataclass(frozen=True)
class CallTrace:
    """The module calls of one forward pass.

    Attributes:
        calls: the calls, in the order in which they ended.
        scores: the network's output.
    """

    calls: tuple[ModuleCall, ...]
    scores: Tensor

    def relu_after(self, layer: str) -> str:
        """Return the ReLU that reads a layer, directly or through batch normalization.

        Args:
            layer: dotted name in the traced network.

        Returns:
            The name of the ReLU; `layer` itself if there is none, or if the ReLU is called
            several times in a pass.
        """
        names, name = [call.name for call in self.calls], layer
        while names.count(name) == 1:
            output = self.calls[names.index(name)].output
            reader = next((call for call in self.calls if call.given is output), None)
            if reader and isinstance(reader.module, nn.ReLU) and names.count(reader.name) == 1:
                return reader.name
            if not (reader and isinstance(reader.module, _BatchNorm)):
                break
            name = reader.name
        return layer

    def score_layer(self) -> str:
        """Return the first layer whose output equals the class scores, one number per class.

        It may come after the "logits" layer if the network averages one map per class over
        positions.
        """
        for call in self.calls:
            output = call.output
            if isinstance(output, Tensor) and torch.equal(output.flatten(), self.scores.flatten()):
                return call.name
        return "logits"

    def sequential_layers(self) -> list[str]:
        """Return the modules without children, in the order in which they run.

        Raises:
            InputError: a module reads something other than the output of the module before it.
        """
        leaves = [call for call in self.calls if not any(True for _ in call.module.children())]
        for before, after in pairwise(leaves):
            if not _passes_on(before.output, after.given):
                raise InputError(
                    f"the network is not sequential: {after.name} reads more than the output of "
                    f"{before.name}; this needs a sequential network such as alexnet or vgg16"
                )
        return [call.name for call in leaves]


def _passes_on(output: object, given: object) -> bool:
    if not (isinstance(output, Tensor) and isinstance(given, Tensor)):
        return False
    return output.numel() == given.numel() and torch.equal(output.flatten(), given.flatten())


@torch.no_grad()
def trace_calls(net: nn.Module, inputs: Tensor) -> CallTrace:
    """Run a network once and record what each of its modules read and returned.

    Args:
        net: the network, not wrapped in a `Model`.
        inputs: a batch of its inputs.
    """
    calls: list[ModuleCall] = []

    def note(name: str, module: nn.Module, given: tuple, output: object) -> None:
        calls.append(ModuleCall(name, module, given[0], output))

    with hooks.hooked([(name, module) for name, module in net.named_modules() if name], note):
        scores = net(inputs)
    return CallTrace(tuple(calls), scores)
