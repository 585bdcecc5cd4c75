"""A user's own network: an independent copy of it, and what a first pass shows about it."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core import InputError, copies
from ..data.images import Size, height_and_width
from . import graph, sources
from .model import keep_inputs

INPUT_SIZES: tuple[Size, ...] = (224, 32, 64, 28, 128, 96, 48, 256, 299, 384, 512)


class Probed(NamedTuple):
    """A copy of a network, and what a first pass showed.

    Attributes:
        net: the copy, in eval mode, with weights of 32 bits.
        channels: of its images.
        classes: number of its outputs.
        roles: the layers that read the image and score the classes, and the order of layers.
    """

    net: nn.Module
    channels: int
    classes: int
    roles: graph.Roles


def copy_and_probe(net: nn.Module, size: Size, channels: int | None) -> Probed:
    """Copy a network and run the copy once.

    Args:
        net: the user's network, which stays as it is.
        size: of its images, in pixels.
        channels: of its images; None for a number that one of its convolutions takes.

    Raises:
        InputError: it cannot be copied, does not take such images, or gives no class scores.
    """
    net = keep_inputs(_unwrap_inside(copies.copy_network(unwrap(net))).float()).eval()
    devices = {str(tensor.device) for tensor in (*net.parameters(), *net.buffers())}
    if len(devices) > 1 or "meta" in devices:
        where = ", ".join(sorted(devices))
        raise InputError(
            f"{type(net).__name__} has weights on {where}; expected all of them on one device: "
            "move it there first"
        )
    possible = [channels] if channels else _possible_channels(net)
    problems = []
    for count in possible:
        try:
            trace = graph.trace_calls(net, _noise(count, size).to(next(iter(devices), "cpu")))
            return _probed(net, trace, count)
        except InputError:
            raise
        except Exception as error:  # whatever the network raises
            problems.append(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    height, width = height_and_width(size)
    raise InputError(
        f"{type(net).__name__} takes no {height}x{width} image of {possible[0]} channels "
        f"({problems[0]}); give another input_size or channels"
    )


def find_input_size(source: str | nn.Module, first: Sequence[Size] = ()) -> Size | None:
    """Return a size of images that a user's own network takes; None for networks with a known one.

    Args:
        source: as for `models.load`.
        first: sizes to be tried before the usual ones.

    Raises:
        InputError: the network takes none of them; the message is about the first.
    """
    if isinstance(source, str):
        if not sources.is_factory(source):
            return None
        _, source = sources.from_factory(source)
    problems = []
    for size in (*first, *INPUT_SIZES):
        try:
            copy_and_probe(source, size, None)
            return size
        except InputError as error:
            problems.append(error)
    raise problems[0]


def size_required(name: str, net: nn.Module) -> InputError:
    """Build the error for an own network without input size; it names a size, if one is found."""
    needed = "give input_size=PIXELS, the size of its square input, or (height, width)"
    with suppress(InputError):
        needed += f"; it takes {find_input_size(net)}, for example"
    return InputError(f"{name} is your own module: {needed}")


def reset_parameters(net: nn.Module) -> None:
    """Give every layer that can be initialized again new random weights, as torch's own can."""
    for module in net.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()


def _possible_channels(net: nn.Module) -> list[int]:
    """Return the numbers of channels that images may have, the most likely one first."""
    found = [module.in_channels for module in net.modules() if isinstance(module, nn.Conv2d)]
    return list(dict.fromkeys([*(n for n in found if n == 3), *found, 3, 1]))


def _noise(channels: int, size: Size) -> Tensor:
    shape = (1, channels, *height_and_width(size))
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _probed(net: nn.Module, trace: graph.CallTrace, channels: int) -> Probed:
    scores = trace.scores
    if not isinstance(scores, Tensor) or scores.ndim < 2 or len(scores) != 1:
        raise InputError(
            f"{type(net).__name__} must map (n, {channels}, h, w) to one tensor of class scores "
            "(n, classes)"
        )
    return Probed(net, channels, scores.shape[1], trace.roles(channels))


def unwrap(net: nn.Module) -> nn.Module:
    """Return the network inside wrappers that hide its layers, such as that of `torch.compile`.

    Raises:
        InputError: hooks cannot reach the layers of a scripted, traced or exported network.
    """
    while isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
        net = net.module
    if not isinstance(net, nn.Module) or isinstance(net, torch.jit.ScriptModule):
        raise _out_of_reach(net)
    inner = getattr(net, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        return unwrap(inner)
    if isinstance(net, torch.fx.GraphModule) and not _calls_layers(net):
        raise _out_of_reach(net)
    for module in net.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise _out_of_reach(module)
    return net


def _calls_layers(net: torch.fx.GraphModule) -> bool:
    """Return whether a graph calls modules with weights; exported ones call functions only."""
    called = (str(node.target) for node in net.graph.nodes if node.op == "call_module")
    return any(any(True for _ in net.get_submodule(name).parameters()) for name in called)


def _unwrap_inside(net: nn.Module) -> nn.Module:
    """Unwrap the compiled parts of a copy."""
    for module in [*net.modules()]:
        module._compiled_call_impl = None
        for name, child in module.named_children():
            if isinstance(getattr(child, "_orig_mod", None), nn.Module):
                setattr(module, name, unwrap(child))
    return net


def _out_of_reach(net: object) -> InputError:
    return InputError(
        f"a network of the kind {type(net).__name__} hides its layers; give the nn.Module from "
        "which it was scripted, traced or exported"
    )
