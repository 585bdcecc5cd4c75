"""Named backward rules of ReLUs, applied to all forward passes made inside a `with` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import choose
from .rules import RULES, BackwardRule

# (gradient that arrives at a ReLU, input of the ReLU) -> gradient that the ReLU passes on
ReluRule = Callable[[Tensor, Tensor], Tensor]


def _of(rule: BackwardRule) -> ReluRule:
    return lambda grad, x: rule.at_relu(grad, lambda: x > 0)


def _redirected(grad: Tensor, x: Tensor) -> Tensor:
    plain = grad * (x > 0)
    lost = (plain == 0).flatten(1).all(1) if x.ndim > 1 else plain == 0
    lost = lost.view(-1, *[1] * (x.ndim - 1))
    return torch.where(lost & ((x > 0) | (grad > 0)), grad, plain)


def leaky(slope: float) -> ReluRule:
    """Pass a fraction of the gradient where the ReLU is inactive (Mahendran and Vedaldi 2016)."""
    return lambda grad, x: torch.where(x > 0, grad, slope * grad)


# What a ReLU with input x passes of the arriving gradient R. gradient: R[x>0]; deconvnet: max(R,0)
# (Zeiler and Fergus 2013); guided: max(R,0)[x>0] (Springenberg et al. 2014); redirected: if none of
# an image's gradient would pass, R also passes where x <= 0 and R > 0, so that ascent can activate
# an inactive unit (lucid, redirected_relu_grad; R is the gradient of the score that is maximized).
RELU_RULES: dict[str, ReluRule] = {
    **{name: _of(RULES[name]) for name in ("gradient", "deconvnet", "guided")},
    "redirected": _redirected,
}


class _RuledRelu(torch.autograd.Function):
    """ReLU whose backward pass follows a rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: ReluRule, inplace: bool) -> Tensor:
        ctx.rule = rule
        ctx.save_for_backward(x.clone() if inplace else x)
        if inplace:
            ctx.mark_dirty(x)
            return x.clamp_(min=0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.rule(*grads, *ctx.saved_tensors), None, None


_RELU = {torch.relu, torch.nn.functional.relu, Tensor.relu}
_RELU_INPLACE = {torch.relu_, torch.nn.functional.relu_, Tensor.relu_}


class _ReluMode(TorchFunctionMode):
    """Replaces every ReLU, whether called as module, function, method or in place."""

    def __init__(self, rule: ReluRule) -> None:
        super().__init__()
        self.rule = rule

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func in _RELU or func in _RELU_INPLACE:
            x = args[0] if args else kwargs["input"]
            inplace = kwargs.get("inplace", len(args) > 1 and args[1])
            return _RuledRelu.apply(x, self.rule, bool(inplace) or func in _RELU_INPLACE)
        return func(*args, **kwargs)


@contextmanager
def relu_rule(rule: str | ReluRule) -> Iterator[None]:
    """Change the backward pass of every ReLU in the forward passes made inside the block.

    The rule is stored in the autograd graph, so the backward pass itself may follow later. ReLU6,
    leaky ReLUs and smooth activation functions are not affected.

    Args:
        rule: a name in `RELU_RULES`, or a function (R, x) -> new R.

    Raises:
        NameNotFound: no rule of that name.
    """
    with _ReluMode(choose("ReLU rule", rule, RELU_RULES)):
        yield
