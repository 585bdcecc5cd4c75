"""Inversion recipes: the authors' gradient descent, and the depth of layers."""

import pytest
import torch
from support.small_chain import layered_net
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import features, hooks
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion.recipes import relative_depth

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 24


def _authors_descent(net: models.Model, code: Tensor, start: Tensor) -> Tensor:
    """invert_nn.m for one layer and one image; x is the image minus gray, on 0..255."""
    sigma2 = 27098.1157**2 / (227 * 227 * 3) * start.numel()
    x, velocity, before = (start - 0.5) * 255, torch.zeros_like(start), None
    for rate in [0.004] * 25 + [0.0004] * 50 + [0.00004] * 25:
        x = x.detach().requires_grad_()
        feature = hooks.activations(net, x / 255 + 0.5, ["pool"])["pool"]
        error = (feature - code).square().sum() / code.square().sum()
        padded = nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
        dx, dy = padded[..., :-1, 1:] - x, padded[..., 1:, :-1] - x
        variation = 1.0 / 2 * (dx**2 + dy**2).sum()
        energy = error + (variation + 8e-10 / 2 * (x**6).sum()) / sigma2
        (gradient,) = torch.autograd.grad(energy, x)
        velocity = (0.9 * velocity if rate == before else 0 * velocity) - rate * sigma2 * gradient
        x, before = x + velocity, rate
    return (x / 255 + 0.5).detach()


def test_the_2015_recipe_is_the_authors_descent():
    """Start near the image, where features change slowly and steps are not limited."""
    model = models.load(layered_net(), input_size=SIZE).double()
    low = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))[:1]
    image = (nn.functional.interpolate(low, size=SIZE, mode="bilinear") * 0.8 + 0.1).double()
    code = features.extract(model, image, ["pool"])["pool"]
    start = image * 0.9 + 0.05
    recipe = inversion.mahendran2015(variation=1.0)
    result = inversion.invert(model, {"pool": code}, recipe=recipe, starts=start, steps=100)
    expected = _authors_descent(model, code, start)
    assert torch.allclose(result.images[0, 0, 0], expected[0], atol=1e-6)


def test_the_depth_counts_layers_with_weights():
    model = models.load(layered_net(), input_size=SIZE)
    depths = [relative_depth(model, layer) for layer in ("conv", "relu", "conv2", "full")]
    assert depths == [0, 0, 1 / 3, 2 / 3]
