"""Backward maps of activation functions other than ReLU, of normalizations, and of products.

An activation function f with input x does to a signal R what a ReLU does: a rule that is rectified
passes max(R, 0), and one that is masked multiplies by f'(x), which for a ReLU is its mask. So
"gradient" is the gradient, and "deconvnet" ignores what the function did to its input.

Normalizations over positions or channels (LayerNorm, GroupNorm) are scaled like batch normalization
by the statistics of the image, which are taken as constant. Where an image's features are
multiplied by others of the same image, as in EfficientNet, the smaller factor is a gate and taken
as constant. Rules with `normalized` use the gradient for both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .rules import Choice, LayerRule, SignalMap

ACTIVATIONS = (
    "celu", "clamp", "clamp_max", "clamp_min", "clip", "elu", "gelu", "hardsigmoid", "hardswish",
    "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu", "relu6", "rrelu", "selu", "sigmoid",
    "silu", "softplus", "softsign", "tanh",
)  # fmt: skip


def _forward_activation(
    function: Callable, input: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        start = input.detach().requires_grad_()
        copy = start.clone()  # because the function may work in place
        output = function(copy, *args, **kwargs)
        (derivative,) = torch.autograd.grad(output.sum(), start)
    result = output.detach()
    return (input.copy_(result) if output is copy else result), derivative


def _backward_activation(choice: Choice, input: Tensor, *args: Any, **kwargs: Any) -> SignalMap:
    def back(signal: Tensor) -> Tensor:
        signal = signal.clamp(min=0) if choice.rule.rectified else signal
        return signal * choice.cached() if choice.rule.masked else signal

    return back


def _forward_norm(
    function: Callable, input: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    return function(input, *args, **kwargs), input


def _backward_norm(choice: Choice, function: Callable, scale: Callable, *args: Any) -> SignalMap:
    """Return the gradient of a normalization, or its scale with constant statistics."""

    def gradient(signal: Tensor) -> Tensor:
        with torch.enable_grad():
            original = choice.cached().detach().requires_grad_()
            output = function(original, *args)
        return torch.autograd.grad(output, original, signal)[0]

    return gradient if choice.rule.normalized else lambda signal: signal * scale(choice.cached())


def _backward_layer_norm(
    choice: Choice,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> SignalMap:
    def scale(x: Tensor) -> Tensor:
        dims = tuple(range(-len(normalized_shape), 0))
        inverse = (x.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
        return inverse if weight is None else inverse * weight

    settings = (normalized_shape, weight, bias, eps)
    return _backward_norm(choice, functional.layer_norm, scale, *settings)


def _backward_group_norm(
    choice: Choice,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> SignalMap:
    def scale(x: Tensor) -> Tensor:
        groups = x.reshape(len(x), num_groups, -1)
        inverse = (groups.var(2, unbiased=False) + eps).rsqrt()
        inverse = inverse.repeat_interleave(x.shape[1] // num_groups, 1)
        by_channel = inverse if weight is None else inverse * weight
        return by_channel.view(*by_channel.shape, *[1] * (x.ndim - 2))

    return _backward_norm(choice, functional.group_norm, scale, num_groups, weight, bias, eps)


SMOOTH_RULES = {
    **dict.fromkeys(ACTIVATIONS, LayerRule(_forward_activation, _backward_activation)),
    "layer_norm": LayerRule(_forward_norm, _backward_layer_norm),
    "group_norm": LayerRule(_forward_norm, _backward_group_norm),
}


def forward_product(
    function: Callable, first: object, second: object
) -> tuple[object, Tensor | None]:
    """Multiply; keep both factors if each image may have its own.

    Args:
        function: multiplies, possibly in place.
        first: a factor.
        second: the other one.
    """
    kept = None
    tensors = [factor for factor in (first, second) if isinstance(factor, Tensor)]
    if len(tensors) == 2 and not any(isinstance(factor, nn.Parameter) for factor in tensors):
        a, b = tensors
        if a.ndim == b.ndim > 1 and len(a) == len(b):
            kept = torch.stack(torch.broadcast_tensors(a, b), 1)  # before it works in place
    return function(first, second), kept


def product(first: Tensor, second: Tensor, choice: Choice) -> Tensor:
    """Return the product of two signals, without its content.

    Args:
        first: a signal.
        second: the other one.
        choice: the rule, and both factors of the image of each signal.
    """
    return _Product.apply(first, second, choice)


class _Product(torch.autograd.Function):
    """The product of two signals without its content; see the module's docstring."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, choice: Choice) -> Tensor:
        ctx.choice, ctx.shapes = choice, (first.shape, second.shape)
        return first.new_empty(torch.broadcast_shapes(first.shape, second.shape))

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, Tensor, None]:
        (signal,), values = signals, ctx.choice.cached()
        passed = [(signal * values[:, 1 - i]).sum_to_size(ctx.shapes[i]) for i in (0, 1)]
        sizes = [shape.numel() for shape in ctx.shapes]
        if not ctx.choice.rule.normalized and sizes[0] != sizes[1]:
            passed[sizes.index(min(sizes))].zero_()
        return passed[0], passed[1], None
