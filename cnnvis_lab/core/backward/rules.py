"""How each kind of layer is reversed, and the rules of the literature where that is a choice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import not_found
from .adjoint import transposed_conv, unpool, window_centers

SignalMap = Callable[[Tensor], Tensor]
Cached = Callable[[], Tensor]


@dataclass(frozen=True)
class BackwardRule:
    """What a reversed network does where its layers leave a choice.

    Attributes:
        masked: at a ReLU, only what was positive on the way forward passes.
        rectified: at a ReLU, only what is positive on the way back passes.
        switches: unpool to where each window had its maximum; or else to the window's middle.
        normalized: go back through local response normalisation by its gradient; or else as is.
        source: who proposed it.
    """

    masked: bool
    rectified: bool
    switches: bool = True
    normalized: bool = False
    source: str = ""


# The family is laid out by Mahendran and Vedaldi 2016, "Salient deconvolutional networks".
RULES: dict[str, BackwardRule] = {
    "gradient": BackwardRule(True, False, normalized=True, source="Simonyan et al. 2013"),
    "deconvnet": BackwardRule(False, True, source="Zeiler and Fergus 2013"),
    "guided": BackwardRule(True, True, normalized=True, source="Springenberg et al. 2014"),
    "desalinet": BackwardRule(True, True, source="Mahendran and Vedaldi 2016"),
    "deconvnet_centred": BackwardRule(False, True, False, source="Mahendran and Vedaldi 2016"),
    "desalinet_centred": BackwardRule(True, True, False, source="Mahendran and Vedaldi 2016"),
    "linear": BackwardRule(False, False, source="Mahendran and Vedaldi 2016"),
}


def get_rule(rule: str | BackwardRule) -> BackwardRule:
    """Return a rule of `RULES` by its name, or one's own as it is."""
    if isinstance(rule, str):
        if rule not in RULES:
            raise not_found("rule", rule, RULES)
        return RULES[rule]
    return rule


class LayerRule(NamedTuple):
    """How a layer is run and noted, and how it is reversed.

    run(function, *args) gives its output and what to keep of each image; back(rule, own, *args)
    gives the map of signals, where own() is what was kept, of each signal's image; args are the
    layer's own.
    """

    run: Callable[..., tuple[Tensor, Tensor | None]]
    back: Callable[..., SignalMap]


def _forward(function: Callable, *args: object, **kwargs: object) -> tuple[Tensor, None]:
    return function(*args, **kwargs), None


def _forward_relu(function: Callable, input: Tensor, *args: object, **kwargs: object):
    positive = input > 0  # first, because the function may work in place
    return function(input, *args, **kwargs), positive


def _forward_max_pool(function: Callable, *args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
    return functional.max_pool2d(*args, **{**kwargs, "return_indices": True})


def _forward_norm(function: Callable, input: Tensor, *args: object, **kwargs: object):
    return function(input, *args, **kwargs), input


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else [*value]
    return values[0], values[-1]


def _backward_conv(
    rule: BackwardRule,
    own: Cached,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> SignalMap:
    size, steps, gap = tuple(input.shape[-2:]), _pair(stride), _pair(dilation)
    if isinstance(padding, str):
        whole = padding == "same"
        padding = [whole * g * (k - 1) // 2 for g, k in zip(gap, weight.shape[-2:], strict=True)]
    before = _pair(padding)
    return lambda signal: transposed_conv(signal, weight, size, steps, before, gap, groups)


def _backward_linear(
    rule: BackwardRule, own: Cached, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> SignalMap:
    return lambda signal: signal @ weight


def _backward_relu(
    rule: BackwardRule, own: Cached, input: Tensor, inplace: bool = False
) -> SignalMap:
    def back(signal: Tensor) -> Tensor:
        signal = signal.clamp(min=0) if rule.rectified else signal
        return signal * own() if rule.masked else signal

    return back


def _backward_max_pool(
    rule: BackwardRule,
    own: Cached,
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    *rest: object,
    **others: object,
) -> SignalMap:
    size, kernel = tuple(input.shape[-2:]), _pair(kernel_size)
    steps, before = _pair(stride or kernel), _pair(padding)

    def back(signal: Tensor) -> Tensor:
        if rule.switches:
            return unpool(signal, own(), size)
        middles = window_centers(tuple(signal.shape[-2:]), kernel, steps, before, size)
        return unpool(signal, middles.to(signal.device).expand(signal.shape), size)

    return back


def _backward_norm(
    rule: BackwardRule, own: Cached, input: Tensor, *args: object, **kwargs: object
) -> SignalMap:
    def back(signal: Tensor) -> Tensor:
        with torch.enable_grad():
            seen = own().requires_grad_()
            output = functional.local_response_norm(seen, *args, **kwargs)
        return torch.autograd.grad(output, seen, signal)[0]

    return back if rule.normalized else lambda signal: signal


LAYER_RULES = {
    "conv2d": LayerRule(_forward, _backward_conv),
    "linear": LayerRule(_forward, _backward_linear),
    "relu": LayerRule(_forward_relu, _backward_relu),
    "max_pool2d": LayerRule(_forward_max_pool, _backward_max_pool),
    "local_response_norm": LayerRule(_forward_norm, _backward_norm),
}
# Linear in any number of signals; and linear in one, where all else is fixed (batch normalisation
# in eval mode is a scale and a shift, dropout nothing). Autograd has the adjoints of both.
ADDITIVE = {"add", "radd", "iadd", "sub", "rsub", "isub", "cat", "concat", "concatenate", "stack"}
LINEAR = ADDITIVE | {
    "mul", "rmul", "imul", "div", "truediv", "true_divide", "idiv", "neg", "sum", "mean",
    "batch_norm", "dropout", "dropout2d", "feature_dropout", "avg_pool2d", "adaptive_avg_pool2d",
    "conv_transpose2d", "interpolate", "upsample", "pad", "flatten", "unflatten", "reshape", "view",
    "permute", "transpose", "movedim", "expand", "squeeze", "unsqueeze", "getitem", "narrow",
    "select", "chunk", "split", "clone", "contiguous", "to", "float", "double", "channel_shuffle",
    "pixel_shuffle",
}  # fmt: skip
