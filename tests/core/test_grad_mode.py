"""Methods that need gradients work in any grad mode of the caller."""

import contextlib

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.core.grad_mode import with_gradients
from cnnvis_lab.methods import activation_maximization, deconvnet, inversion, perturbation


@pytest.fixture(params=[torch.no_grad, torch.inference_mode, contextlib.nullcontext])
def mode(request):
    return request.param


def _net() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3))


def _run(name: str) -> Tensor:
    """Run a method from the beginning, so that all tensors are made in the caller's mode."""
    model = models.load(_net(), input_size=16)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    if name == "render":
        found = activation_maximization.render(model, ["3:0", "3:4"], steps=3)
        return found.images
    if name == "starts":
        found = activation_maximization.render(model, ["3:0", "3:4"], steps=3, starts=images)
        return found.images
    if name == "directions":
        vectors = torch.ones(2, 5)
        return activation_maximization.render_directions(model, "3", vectors, steps=3).images
    if name == "dream":
        return activation_maximization.deep_dream(model, "3", images[0], octaves=1, steps=2)
    if name == "project":
        return deconvnet.project(model, images, ["3:1", "7:0"]).pixels
    if name == "gradient":
        return deconvnet.project(model, images, ["3:1"], rule="gradient", start_value=1.0).pixels
    if name == "invert":
        codes = features.extract(model, images, ["3"])
        return inversion.invert(model, codes, steps=3).images
    return perturbation.importance(model, "3", images, by="gradient")


METHODS = ("render", "starts", "directions", "dream", "project", "gradient", "invert", "importance")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_the_same_result_in_any_mode(name, mode):
    expected = _run(name)
    with mode():
        found = _run(name)
        assert torch.is_grad_enabled() == (mode is contextlib.nullcontext)
    assert expected.any() and torch.equal(found, expected)


def test_tensors_of_inference_mode_are_copied_and_others_are_not():
    plain = torch.ones(3)
    with torch.inference_mode():
        inside = torch.ones(3)

    @with_gradients
    def same(first: Tensor, *, second: Tensor) -> Tensor:
        return first * second.requires_grad_()

    with torch.inference_mode():
        result = same(inside, second=inside)
    assert with_gradients(lambda x: x)(plain) is plain
    assert result.requires_grad and not result.is_inference() and not inside.requires_grad
