"""The forward pass over images, and what of it backward passes need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .. import hooks
from ..errors import InputError
from ..grad_mode import with_gradients
from ..types import Float
from . import smooth_rules
from .rules import LAYER_RULES
from .window import Pair, Window

KNOWN_RULES = LAYER_RULES | smooth_rules.SMOOTH_RULES
PRODUCTS = {"mul", "imul", "rmul", "multiply"}


class Call(NamedTuple):
    """One call of a layer: output shape, what its backward map needs, whether it ran in place."""

    shape: torch.Size
    kept: Tensor | None
    in_place: bool


@dataclass(frozen=True)
class ForwardCache:
    """One forward pass over images.

    Attributes:
        input_shape: shape of the batch of images.
        outputs: layer -> its activations.
        calls: what the backward maps need, in the order of the layers' calls.
    """

    input_shape: torch.Size
    outputs: dict[str, Tensor]
    calls: tuple[Call, ...]


@torch.no_grad()
@with_gradients
def cache_forward(
    model: nn.Module, images: Float[Tensor, "n c h w"], layers: Sequence[str]
) -> ForwardCache:
    """Run images up to the deepest of some layers and cache what a backward pass needs.

    Args:
        model: any network, in eval mode.
        images: the network's input.
        layers: dotted names or aliases.

    Raises:
        NameNotFound: no such layer.
        InputError: the network is in training mode.
    """
    leaves = (module for module in model.modules() if not any(True for _ in module.children()))
    if any(leaf.training for leaf in leaves):
        raise InputError("the network is in training mode; call its eval() first")
    with _Caching() as caching:
        outputs = hooks.activations(model, images, layers)
    return ForwardCache(images.shape, outputs, tuple(caching.calls))


@dataclass
class SwitchSource:
    """The forward pass whose switches the current signals follow.

    The graph of the backward network refers to this object and not to the network: a graph that
    referred to its owner would never be freed.
    """

    cache: ForwardCache
    index: Tensor
    window: Window
    places: Tensor

    def kept(self, number: int, part: Pair) -> Tensor:
        """Return what a call has cached for the image of each signal, in the signal's window.

        Args:
            number: of the call.
            part: height and width of its output in a window.
        """
        kept = self.cache.calls[number].kept
        assert kept is not None  # only layers that cache something fetch it
        if self.window.is_whole and len(kept) == 1:
            return kept.expand(len(self.index), *kept.shape[1:])
        if self.window.is_whole:
            return kept[self.index]
        return self.window.cut(kept, part, self.index, self.places)

    def switches(self, number: int, part: Pair, size: Pair, stride: Pair) -> Tensor:
        """Return the cached switches of a call of max-pooling as positions in the window's maps.

        Args:
            number: of the call.
            part: height and width of its output in a window.
            size: height and width of its input in a window.
            stride: of the pooling.
        """
        switches = self.kept(number, part)
        if self.window.is_whole:
            return switches
        pooled = self.cache.calls[number].shape[-2:]
        whole = [n + (p - q) * s for n, p, q, s in zip(size, pooled, part, stride, strict=True)]
        top, left = self.window.starts((whole[0], whole[1]), size, self.places).T
        rows = switches // whole[1]
        moved = switches - rows * (whole[1] - size[1])
        moved -= (top * size[1] + left).view(-1, 1, 1, 1)
        # Switches outside the window belong to positions without a signal.
        return moved.clamp_(0, size[0] * size[1] - 1)


class _Caching(TorchFunctionMode):
    """Caches what the backward map of each layer in `LAYER_RULES` will need."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        name, kwargs = operation_name(func), kwargs or {}
        if name in PRODUCTS and len(args) == 2:
            output, kept = smooth_rules.forward_product(func, *args)
            self.calls.append(Call(torch.Size(), kept, False))
            return output
        if name not in KNOWN_RULES:
            return func(*args, **kwargs)
        output, kept = KNOWN_RULES[name].forward(func, *args, **kwargs)
        in_place = output is (args[0] if args else kwargs["input"])
        self.calls.append(Call(output.shape, kept, in_place))
        return output


def operation_name(function: Callable) -> str:
    """Return one name for all variants: torch.relu, Tensor.relu_, functional.relu; add, +, +=."""
    return getattr(function, "__name__", repr(function)).strip("_")
