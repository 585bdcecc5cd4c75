"""What the backward pass does at ReLUs: rules by name, in force for the passes made in a block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import not_found

ReluRule = Callable[[Tensor, Tensor], Tensor]


def _gradient(grad: Tensor, x: Tensor) -> Tensor:
    return grad * (x > 0)


def _deconvnet(grad: Tensor, x: Tensor) -> Tensor:
    return grad.clamp(min=0)


def _guided(grad: Tensor, x: Tensor) -> Tensor:
    return grad.clamp(min=0) * (x > 0)


def _redirected(grad: Tensor, x: Tensor) -> Tensor:
    plain = _gradient(grad, x)
    lost = (plain == 0).flatten(1).all(1) if x.ndim > 1 else plain == 0
    lost = lost.view(-1, *[1] * (x.ndim - 1))
    return torch.where(lost & ((x > 0) | (grad > 0)), grad, plain)


# What the backward pass does at a ReLU with input x, for the gradient R that arrives there:
# gradient R[x>0]; deconvnet max(R,0) (Zeiler and Fergus 2013); guided max(R,0)[x>0] (Springenberg
# et al. 2014); redirected: where nothing of an image's gradient would get through, R also passes
# where x <= 0 and R > 0, so that a silent unit can be woken by ascent (lucid,
# redirected_relu_grad; R is the gradient of the score that is maximised).
RELU_RULES: dict[str, ReluRule] = {
    "gradient": _gradient,
    "deconvnet": _deconvnet,
    "guided": _guided,
    "redirected": _redirected,
}


class _RuledRelu(torch.autograd.Function):
    """ReLU forward; backward by a rule from the arriving gradient and the input."""

    @staticmethod
    def forward(ctx: object, x: Tensor, rule: ReluRule, inplace: bool) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x.clone() if inplace else x)
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(min=0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.rule(grad, x), None, None


_RELU = {torch.relu, torch.nn.functional.relu, Tensor.relu}
_RELU_INPLACE = {torch.relu_, torch.nn.functional.relu_, Tensor.relu_}


class _ReluMode(TorchFunctionMode):
    """Catches every ReLU, however it is written: module, functional, method, in place."""

    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(
        self, function: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        if function in _RELU or function in _RELU_INPLACE:
            x = args[0] if args else kwargs["input"]
            asked = kwargs.get("inplace", len(args) > 1 and args[1])
            return _RuledRelu.apply(x, self.rule, bool(asked) or function in _RELU_INPLACE)
        return function(*args, **kwargs)


def leaky(slope: float) -> ReluRule:
    """Let a share of the gradient pass where the ReLU is silent (Mahendran and Vedaldi 2016)."""
    return lambda grad, x: torch.where(x > 0, grad, slope * grad)


@contextmanager
def relu_rule(rule: str | ReluRule) -> Iterator[None]:
    """Change what the backward pass does at every ReLU of the forward passes made in the block.

    The rule stays with the graph, so the backward pass itself may come later. ReLU6, leaky and
    smooth units are no ReLUs and keep their own gradient.

    Args:
        rule: a name in `RELU_RULES`, or a function (R, x) -> new R.

    Raises:
        NameNotFound: no rule of that name.
    """
    if isinstance(rule, str):
        if rule not in RELU_RULES:
            raise not_found("ReLU rule", rule, RELU_RULES)
        rule = RELU_RULES[rule]
    with _ReluMode(rule):
        yield
