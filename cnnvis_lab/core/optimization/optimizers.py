"""Update rules of gradient ascent: Adam, SGD with momentum, normalized and projected steps."""

from collections.abc import Callable

import torch
from torch import Tensor

# (parameter, its gradient, step, state of the rule for this parameter) -> change of the parameter
UpdateRule = Callable[[Tensor, Tensor, int, dict], Tensor]
LearningRate = float | Callable[[int], float]


def _rate_at(rate: LearningRate, step: int) -> float:
    return rate(step) if callable(rate) else rate


def adam(
    rate: LearningRate = 0.05, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> UpdateRule:
    """Adam (Kingma and Ba 2015); elementwise, so that images stay independent.

    Args:
        rate: step size, or a function of the step.
        betas: decay rates of the running means of gradient and squared gradient.
        eps: added to the square root of the second.
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        mean = state.setdefault("mean", torch.zeros_like(parameter))
        square = state.setdefault("square", torch.zeros_like(parameter))
        mean.lerp_(gradient, 1 - betas[0])
        square.lerp_(gradient * gradient, 1 - betas[1])
        unbiased = (square / (1 - betas[1] ** (step + 1))).sqrt_().add_(eps)
        return _rate_at(rate, step) / (1 - betas[0] ** (step + 1)) * mean / unbiased

    return rule


def sgd(rate: LearningRate, momentum: float = 0.0) -> UpdateRule:
    """Gradient ascent with momentum.

    Args:
        rate: step size, or a function of the step.
        momentum: fraction of the previous change that is added to the next one.
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        speed = state.setdefault("speed", torch.zeros_like(parameter))
        speed.mul_(momentum).add_(gradient, alpha=_rate_at(rate, step))
        return speed.clone()

    return rule


def normalized_gradient(rate: LearningRate) -> UpdateRule:
    """Step along gradient / mean |gradient| of each image (Nguyen et al. 2016)."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        size = gradient.abs().flatten(1).mean(1).clamp(min=1e-20)
        return _rate_at(rate, step) * gradient / size.view(-1, *[1] * (gradient.ndim - 1))

    return rule


def normalized_momentum(rate: LearningRate, momentum: float = 0.8) -> UpdateRule:
    """Step along the running mean of each image's normalized gradients."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        size = gradient.flatten(1).norm(dim=1).clamp(min=1e-20)
        mean = state.setdefault("mean", torch.zeros_like(gradient))
        direction = gradient / size.view(-1, *[1] * (gradient.ndim - 1))
        state["mean"] = momentum * mean + (1 - momentum) * direction
        return _rate_at(rate, step) * state["mean"]

    return rule


def per_pixel(rule: UpdateRule) -> UpdateRule:
    """Adapt a rule for scores that are sums over pixels to scores that are means."""

    def scaled(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        return rule(parameter, gradient * gradient[0, 0].numel(), step, state)

    return scaled


def clipped(rule: UpdateRule, limit: float) -> UpdateRule:
    """Apply a rule to each image's gradient, clipped to a root mean square of `limit`.

    A step size that suits one network can be far too large for another. Clipping keeps the ascent
    from diverging where the slope is steep, and changes nothing elsewhere.
    """

    def clip(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        size = gradient.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (gradient.ndim - 1))
        return rule(parameter, gradient * (limit / size.clamp(min=limit)), step, state)

    return clip


def target_increase(desired: float, highest: float) -> UpdateRule:
    """Step along each image's gradient g by as much as should increase the score by `desired`.

    Args:
        desired: increase per step, if the score were linear.
        highest: upper bound of the factor of the gradient.

    Source: Yosinski et al. 2015, learning rate policy "progress": min(highest, desired / |g|^2).
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        square = (gradient * gradient).flatten(1).sum(1).clamp(min=1e-30)
        rate = (desired / square).clamp(max=highest)
        return rate.view(-1, *[1] * (gradient.ndim - 1)) * gradient

    return rule


def project_to_sphere(radius: float, rate: LearningRate = 0.5) -> UpdateRule:
    """Stay at distance `radius` from gray: step along the gradient, then rescale (Erhan 2009).

    Args:
        radius: norm of (image - gray), over pixels and channels.
        rate: step length as a fraction of the radius, or a function of the step.
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
        tail = [1] * (gradient.ndim - 1)
        size = gradient.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *tail)
        moved = parameter.detach() - 0.5 + _rate_at(rate, step) * radius * gradient / size
        length = moved.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *tail)
        return 0.5 + radius * moved / length - parameter.detach()

    return rule
