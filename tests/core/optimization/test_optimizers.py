"""Update rules agree with torch's optimizers, closed forms and known optima."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab.core.optimization import (
    AscentResult,
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
)
from cnnvis_lab.core.optimization.objectives import Objective

pytestmark = pytest.mark.usefixtures("one_thread")


def _ascent(
    objective: Objective,
    start: Tensor,
    rule: optimizers.UpdateRule,
    steps: int,
    model: nn.Module | None = None,
) -> AscentResult:
    """Ascend without bounds, with snapshots of every step."""
    space = image_space.pixels(start, low=None, high=None)
    options = Options(snapshots=range(steps))
    return ascend(model or nn.Identity(), objective, space, Phase(steps, rule), options)


def _start(*seeds: int) -> Tensor:
    return image_space.noise(seeds, (4, 5)).double()


def _random(*shape: int, seed: int = 6) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _quadratic(images: Tensor) -> Tensor:
    """The negative squared distance to a target, with a weight for every value."""
    target, stretch = _random(3, 4, 5), _random(3, 4, 5, seed=7) + 0.2
    return -(stretch * (images - target) ** 2).flatten(1).sum(1)


def _score(function: Callable[[Tensor], Tensor]) -> Objective:
    return Objective((), lambda acts, images, index: function(images))


def _gradient(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    leaf = images.detach().clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


RULES = {
    "adam": (optimizers.adam(0.05), lambda p: torch.optim.Adam(p, 0.05, maximize=True)),
    "adam with other betas": (
        optimizers.adam(0.02, (0.7, 0.95), 1e-3),
        lambda p: torch.optim.Adam(p, 0.02, (0.7, 0.95), 1e-3, maximize=True),
    ),
    "sgd": (optimizers.sgd(0.1), lambda p: torch.optim.SGD(p, 0.1, maximize=True)),
    "sgd with momentum": (
        optimizers.sgd(0.05, 0.9),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, maximize=True),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_adam_and_sgd_equal_torchs_optimizers_on_a_quadratic(name):
    rule, make_optimizer = RULES[name]
    result = _ascent(_score(_quadratic), _start(0, 1), rule, 60)
    image, scores = _start(0, 1).requires_grad_(), []
    optimizer = make_optimizer([image])
    for _ in range(60):
        scores.append(_quadratic(image).detach())
        image.grad = _gradient(_quadratic, image)
        optimizer.step()
    assert torch.allclose(result.images, image.detach(), rtol=0, atol=1e-9)
    assert torch.allclose(result.history, torch.stack(scores).float(), atol=1e-6)
    assert result.history[-1].min() > result.history[0].max()


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_momentum_keeps_what_earlier_rates_have_given(momentum):
    rates = [0.1] * 7 + [0.05] * 7 + [0.02] * 6
    rule = optimizers.sgd(rates.__getitem__, momentum)
    result = _ascent(_score(_quadratic), _start(0), rule, 20)
    image = _start(0)
    velocity = torch.zeros_like(image)
    for rate in rates:
        velocity = momentum * velocity + rate * _gradient(_quadratic, image)
        image = image + velocity
    assert torch.allclose(result.images, image, rtol=0, atol=1e-12)


def test_adam_follows_a_schedule_of_rates():
    stopping = optimizers.adam(lambda step: 0.0 if step else 0.05)
    stopped, going = (
        _ascent(_score(_quadratic), _start(0), rule, 4)
        for rule in (stopping, optimizers.adam(0.05))
    )
    assert torch.equal(stopped.snapshots[1], going.snapshots[1])
    assert torch.equal(stopped.images, stopped.snapshots[1])
    # Adam's first step is its rate, independently of the gradient
    first = (going.snapshots[1] - going.snapshots[0]).abs()
    assert torch.allclose(first, torch.full_like(first, 0.05), atol=1e-6)


def test_a_normalized_step_has_the_rate_as_its_mean_absolute_change_in_every_image():
    sizes = torch.tensor([1e-8, 1, 1e6], dtype=torch.float64).view(3, 1, 1, 1)
    image, gradient = _random(3, 3, 4, 5), (_random(3, 3, 4, 5, seed=1) - 0.5) * sizes
    change = optimizers.normalized_gradient(lambda step: 0.1 * (step + 1))(image, gradient, 2, {})
    assert torch.allclose(change.abs().flatten(1).mean(1), torch.tensor(0.3).double())
    factors = (change / gradient).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors)) and (factors > 0).all()
    assert not optimizers.normalized_gradient(1.0)(image, torch.zeros_like(image), 0, {}).any()


@pytest.mark.parametrize("rule", [optimizers.sgd(0.02, 0.9), optimizers.target_increase(0.3, 0.05)])
def test_a_per_pixel_rule_maximizes_means_as_the_plain_rule_maximizes_sums(rule):
    mean = _score(lambda images: _quadratic(images) / (4 * 5))
    means = _ascent(mean, _start(0), optimizers.per_pixel(rule), 9)
    sums = _ascent(_score(_quadratic), _start(0), rule, 9)
    assert torch.allclose(means.images, sums.images, rtol=0, atol=1e-12)


def test_target_increase_raises_a_linear_score_by_the_given_amount():
    slopes = _random(2, 3, 4, 5) - 0.5
    slopes[1] *= 100
    linear = _score(lambda images: (images * slopes).flatten(1).sum(1))
    result = _ascent(linear, _start(0, 1), optimizers.target_increase(0.25, 1e6), 6)
    assert torch.allclose(result.history.diff(dim=0), torch.tensor(0.25), atol=1e-4)
    capped = _ascent(linear, _start(0, 1), optimizers.target_increase(0.25, 1e-3), 1)
    # 0.25 / |slope|^2 is about 0.05 for the first image, 5e-6 for the second
    assert torch.allclose(capped.images[0], _start(0)[0] + 1e-3 * slopes[0], rtol=0, atol=1e-12)
    assert torch.equal(capped.images[1], result.snapshots[1][1])
    still = optimizers.target_increase(0.25, 10.0)(slopes, torch.zeros_like(slopes), 0, {})
    assert not still.any()


@pytest.fixture
def linear_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 9)).eval().double()


def _maximize_units(net: nn.Module, rule: optimizers.UpdateRule, steps: int) -> AscentResult:
    units = objectives.channel("0", range(4))
    return _ascent(units, image_space.noise(range(4), 9).double(), rule, steps, net)


@pytest.mark.parametrize("radius", [0.5, 8.0])
def test_on_the_sphere_every_step_preserves_the_norm(linear_net, radius):
    result = _maximize_units(linear_net, optimizers.project_to_sphere(radius, 0.3), 6)
    for images in [*(result.snapshots[step] for step in range(1, 6)), result.images]:
        norms = (images - 0.5).flatten(1).norm(dim=1)
        assert torch.allclose(norms, torch.full_like(norms, radius), rtol=1e-13, atol=0)


def test_on_the_sphere_a_linear_unit_ends_at_its_own_kernel(linear_net):
    """The optimum of w.x under |x| = rho is rho w / |w| (Erhan et al. 2009)."""
    radius, kernels = 8.0, linear_net[0].weight.detach()
    result = _maximize_units(linear_net, optimizers.project_to_sphere(radius), 40)
    directions = (result.images - 0.5).flatten(1)
    optimum = radius * kernels.flatten(1) / kernels.flatten(1).norm(dim=1, keepdim=True)
    assert torch.allclose(directions, optimum, atol=1e-3 * radius)
    assert (torch.cosine_similarity(directions, kernels.flatten(1)) > 0.99).all()
    assert (result.history[1:].diff(dim=0) >= -1e-6).all()


def test_clipped_and_normalized_steps_do_not_grow_with_the_gradient():
    images, gradient = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    gradient = gradient / gradient.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1)
    clipped = optimizers.clipped(optimizers.sgd(0.1), 2.0)
    # short steps are unchanged
    assert torch.allclose(clipped(images, gradient, 0, {}), 0.1 * gradient)
    assert torch.allclose(clipped(images, 50 * gradient, 0, {}), 0.2 * gradient, rtol=1e-5)
    normalized, state = optimizers.normalized_momentum(3.0, momentum=0.5), {}
    first = normalized(images, gradient, 0, state)
    second = normalized(images, 100 * gradient, 1, state)
    assert first.flatten(1).norm(dim=1).tolist() == pytest.approx([1.5, 1.5])
    assert second.flatten(1).norm(dim=1).tolist() == pytest.approx([2.25, 2.25])
