"""Which module reads which output, from the module tree or from a recorded forward pass."""

from collections.abc import Iterable, Sequence
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


def conv_blocks(net: nn.Module, order: Sequence[str] = ()) -> list[str]:
    """Return the blocks that contain convolutions, in the order of running.

    Args:
        net: the network, not wrapped in a `Model`.
        order: the modules in the order in which they ran; empty for the order of definition.
    """
    found = [
        name
        for name in blocks(net)
        if any(isinstance(module, nn.Conv2d) for module in net.get_submodule(name).modules())
    ]
    return sorted(set(found) & set(order), key=order.index) if order else found


def class_layer(net: nn.Module, classes: int) -> str:
    """Return the last module with one output per class; "" (the network itself) if none has."""
    scoring = [name for name, module in net.named_modules() if _outputs(module) == classes]
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


class Roles(NamedTuple):
    """What the layers of a network do.

    Attributes:
        first_conv: name of the convolution that reads the image; "" if there is none.
        class_layer: name of the layer that scores the classes; "" for the network itself.
        order: the modules in the order in which they ran; empty for that of definition.
    """

    first_conv: str
    class_layer: str
    order: tuple[str, ...] = ()


def roles_by_definition(net: nn.Module, channels: int, classes: int) -> Roles:
    """Return the roles of a network whose layers run in the order in which they are defined.

    Args:
        net: the network, not wrapped in a `Model`.
        channels: of its images.
        classes: number of its outputs.
    """
    return Roles(_first_conv(net.named_modules(), channels), class_layer(net, classes))


def _first_conv(modules: Iterable[tuple[str, nn.Module]], channels: int) -> str:
    return next(
        (n for n, m in modules if isinstance(m, nn.Conv2d) and m.in_channels == channels), ""
    )


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

    def roles(self, channels: int) -> Roles:
        """Return which layers read the image and score the classes, from the order of running.

        The class layer has one output per class, which equals the scores, possibly after averaging
        over positions; failing that, one whose largest output is that of the scores.

        Args:
            channels: of the images.
        """
        named = [(call.name, call.module) for call in self.calls]
        order = tuple(dict.fromkeys(name for name, _ in named))
        scores, classes = self.scores.flatten(1), self.scores.shape[1]
        scoring = {
            call.name: call.output.flatten(2).mean(2) if call.output.ndim > 2 else call.output
            for call in reversed(self.calls)
            if isinstance(call.output, Tensor) and _outputs(call.module) == classes
        }
        fitting = [name for name, outputs in scoring.items() if outputs.shape == scores.shape]
        equal = [name for name in fitting if torch.allclose(scoring[name], scores)]
        best = [name for name in fitting if torch.equal(scoring[name].argmax(1), scores.argmax(1))]
        others = [*scoring, self.score_layer().replace("logits", "")]
        return Roles(_first_conv(named, channels), [*equal, *best, *others][0], order)

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


def _outputs(module: nn.Module) -> int:
    """Return the number of outputs of a layer with weights; 0 for any other module."""
    outputs = getattr(module, "out_features", getattr(module, "out_channels", 0))
    return outputs if isinstance(outputs, int) else 0


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
        calls.append(ModuleCall(name, module, given[0] if given else None, output))

    with hooks.hooked([(name, module) for name, module in net.named_modules() if name], note):
        scores = net(inputs)
    return CallTrace(tuple(calls), scores)


@torch.no_grad()
def units_last(net: nn.Module, channels: int, size: tuple[int, int]) -> set[str]:
    """Return the modules whose maps have their units on the last axis: it keeps its size.

    Only networks with layer normalization are asked, with images of two sizes. Where a network
    takes one size only, no such module is known.

    Args:
        net: the network; it takes normalized images.
        channels: of its images.
        size: height and width of its images.
    """
    if not any(isinstance(module, nn.LayerNorm) for module in net.modules()):
        return set()
    like = next(net.parameters())
    shapes: list[dict[str, torch.Size]] = []
    for height, width in (size, (size[0] + 64, size[1] + 96)):
        seen: dict[str, torch.Size] = {}

        def note(
            name: str, module: nn.Module, inputs: tuple, output: object, seen: dict = seen
        ) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                seen[name] = output.shape

        try:
            with hooks.hooked([(n, m) for n, m in net.named_modules() if n], note):
                net(like.new_zeros(1, channels, height, width))
        except Exception:  # whatever a network of one size raises
            return set()
        shapes.append(seen)
    first, second = shapes
    return {
        name
        for name, shape in first.items()
        if name in second and shape[-1] == second[name][-1] and shape[1:3] != second[name][1:3]
    }
