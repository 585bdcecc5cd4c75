"""Backward rules: how each kind of layer sends a signal back, where the literature differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .adjoint import Pair, transposed_conv, unpool, window_centers

Numbers = int | Sequence[int]
SignalMap = Callable[[Tensor], Tensor]
Cached = Callable[[], Tensor]


@dataclass(frozen=True)
class BackwardRule:
    """How a backward pass treats the layers for which the methods of the literature differ.

    Attributes:
        masked: ReLUs pass a signal only where their forward input was positive.
        rectified: ReLUs pass positive signals only.
        switches: max-pooling sends a signal to the position of each window's maximum; otherwise
            to the center of the window.
        normalized: local response normalization sends back its gradient; otherwise the signal is
            passed unchanged.
        source: the paper that proposed the rule.
    """

    masked: bool
    rectified: bool
    switches: bool = True
    normalized: bool = False
    source: str = ""

    def at_relu(self, signal: Tensor, was_positive: Cached) -> Tensor:
        """Return the signal that passes a ReLU.

        Args:
            signal: of the ReLU's shape.
            was_positive: returns where the ReLU's input was positive; called only if `masked`.
        """
        signal = signal.clamp(min=0) if self.rectified else signal
        return signal * was_positive() if self.masked else signal


# Mahendran and Vedaldi 2016 compare this family of rules in "Salient deconvolutional networks".
RULES: dict[str, BackwardRule] = {
    "gradient": BackwardRule(True, False, normalized=True, source="Simonyan et al. 2013"),
    "deconvnet": BackwardRule(False, True, source="Zeiler and Fergus 2013"),
    "guided": BackwardRule(True, True, normalized=True, source="Springenberg et al. 2014"),
    "desalinet": BackwardRule(True, True, source="Mahendran and Vedaldi 2016"),
    "deconvnet_centred": BackwardRule(False, True, False, source="Mahendran and Vedaldi 2016"),
    "desalinet_centred": BackwardRule(True, True, False, source="Mahendran and Vedaldi 2016"),
    "linear": BackwardRule(False, False, source="Mahendran and Vedaldi 2016"),
}


class Choice(NamedTuple):
    """What a backward map depends on besides the layer's arguments.

    Attributes:
        rule: the backward rule.
        cached: returns what the forward pass cached for the image of each signal.
        switches: (height and width before max-pooling, its stride) -> the switches of each signal.
    """

    rule: BackwardRule
    cached: Cached
    switches: Callable[[Pair, Pair], Tensor]


class LayerRule(NamedTuple):
    """The forward and the backward pass of one kind of layer.

    Attributes:
        forward: (function, *args) -> the layer's output, and what the backward pass needs of each
            image; args are the layer's own arguments.
        backward: (choice, *args) -> the map of signals.
    """

    forward: Callable[..., tuple[Tensor, Tensor | None]]
    backward: Callable[..., SignalMap]


def _forward(function: Callable, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    return function(*args, **kwargs), None


def _forward_relu(
    function: Callable, input: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    positive = input > 0  # first, because the function may work in place
    return function(input, *args, **kwargs), positive


def _forward_max_pool(
    function: Callable, input: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    if input.ndim == 4 and not input.is_cuda:
        # Pooled with the channels last, maps give the same numbers in a quarter of the time.
        input = input.contiguous(memory_format=torch.channels_last)
    pooled, switches = functional.max_pool2d(input, *args, **{**kwargs, "return_indices": True})
    return pooled.contiguous(), switches.contiguous()


def _forward_norm(
    function: Callable, input: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    return function(input, *args, **kwargs), input


def _pair(value: Numbers) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else [*value]
    return values[0], values[-1]


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _backward_conv(
    choice: Choice,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Numbers = 1,
    padding: Numbers | str = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> SignalMap:
    steps, gap = _pair(stride), _pair(dilation)
    if isinstance(padding, str):
        whole = padding == "same"
        padding = [whole * g * (k - 1) // 2 for g, k in zip(gap, _size(weight), strict=True)]
    geometry = (_size(input), steps, _pair(padding), gap, groups)
    return lambda signal: transposed_conv(signal, weight, *geometry)


def _backward_linear(
    choice: Choice, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> SignalMap:
    return lambda signal: signal @ weight


def _backward_relu(choice: Choice, input: Tensor, inplace: bool = False) -> SignalMap:
    return lambda signal: choice.rule.at_relu(signal, choice.cached)


def _backward_max_pool(
    choice: Choice,
    input: Tensor,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    *rest: Any,
    **others: Any,
) -> SignalMap:
    size, kernel = _size(input), _pair(kernel_size)
    steps = _pair(stride or kernel)
    if choice.rule.switches:
        return lambda signal: unpool(signal, choice.switches(size, steps), size)

    def to_centers(signal: Tensor) -> Tensor:
        centers = window_centers(_size(signal), kernel, steps, _pair(padding), size)
        return unpool(signal, centers.to(signal.device).expand(signal.shape), size)

    return to_centers


def _backward_norm(choice: Choice, input: Tensor, *args: Any, **kwargs: Any) -> SignalMap:
    def gradient(signal: Tensor) -> Tensor:
        with torch.enable_grad():
            original = choice.cached().requires_grad_()
            output = functional.local_response_norm(original, *args, **kwargs)
        return torch.autograd.grad(output, original, signal)[0]

    return gradient if choice.rule.normalized else lambda signal: signal


LAYER_RULES = {
    "conv2d": LayerRule(_forward, _backward_conv),
    "linear": LayerRule(_forward, _backward_linear),
    "relu": LayerRule(_forward_relu, _backward_relu),
    "max_pool2d": LayerRule(_forward_max_pool, _backward_max_pool),
    "local_response_norm": LayerRule(_forward_norm, _backward_norm),
}
# ADDITIVE operations are linear in any number of signals. The other LINEAR ones are linear in one
# signal if everything else is fixed (in eval mode, batch normalization is a scale and a shift, and
# dropout is the identity). Autograd computes their adjoints.
ADDITIVE = {"add", "radd", "iadd", "sub", "rsub", "isub", "cat", "concat", "concatenate", "stack"}
LINEAR = ADDITIVE | {
    "mul", "rmul", "imul", "div", "truediv", "true_divide", "idiv", "neg", "sum", "mean",
    "batch_norm", "dropout", "dropout2d", "feature_dropout", "avg_pool2d", "adaptive_avg_pool2d",
    "conv_transpose2d", "interpolate", "upsample", "pad", "flatten", "unflatten", "reshape", "view",
    "permute", "transpose", "movedim", "expand", "squeeze", "unsqueeze", "getitem", "narrow",
    "select", "chunk", "split", "clone", "contiguous", "to", "float", "double", "channel_shuffle",
    "pixel_shuffle",
}  # fmt: skip
