"""Layers with units on the last axis are recorded, edited and shown like all others."""

import pytest
import torch
from support import own_networks
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.core.optimization import objectives
from cnnvis_lab.methods import activation_maximization, deconvnet


class _Last(nn.Module):
    """A convolution, a layer on (n, h, w, units), tokens, and class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.mix = nn.Conv2d(3, 5, 4, 2), nn.LayerNorm(5), nn.Linear(5, 7)
        self.tokens, self.head = nn.Identity(), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        return self.head(self.tokens(maps.flatten(1, 2)).mean(1))


@pytest.fixture(scope="module")
def model() -> models.Model:
    torch.manual_seed(0)
    return models.load(_Last(), input_size=(20, 16))


def test_only_layers_whose_last_axis_keeps_its_size_have_their_units_there(model):
    assert model.units_last == {"net.norm", "net.mix"}
    assert model.layer_shapes(["conv", "mix"]) == {"conv": (5, 9, 7), "mix": (7, 9, 7)}
    assert models.load(own_networks.lenet(), input_size=28).units_last == frozenset()


def test_recorded_and_edited_maps_are_those_of_the_network(model):
    images = torch.rand(2, 3, 20, 16)
    with hooks.record(model, ["conv", "mix"]) as outputs:
        scores = model(images)
    expected = model.net.mix(model.net.norm(outputs["conv"].permute(0, 2, 3, 1)))
    torch.testing.assert_close(outputs["mix"].permute(0, 2, 3, 1), expected)
    assert hooks.activations(model, images, ["mix"])["mix"].equal(outputs["mix"])

    def without_first(maps: Tensor) -> Tensor:
        return torch.cat([0 * maps[:, :1], maps[:, 1:]], 1)

    with hooks.edit(model, {"mix": without_first}):
        edited = model(images)
    pooled = outputs["mix"].flatten(2).mean(2)
    pooled[:, 0] = 0
    torch.testing.assert_close(edited, model.net.head(pooled))
    torch.testing.assert_close(scores, model(images))


def test_their_units_are_maximized_and_projected(model):
    rendering = activation_maximization.render(model, ["mix:6"], steps=4)
    assert rendering.history[-1] > rendering.history[0]
    images = torch.rand(1, 3, 20, 16)
    pixels = deconvnet.project(model, images, ["mix:6"], rule="gradient", start_value=1.0)
    leaf = images.clone().requires_grad_()
    (row, column), maps = pixels.positions[0, 0], hooks.activations(model, leaf, ["mix"])["mix"]
    (expected,) = torch.autograd.grad(maps[0, 6, row, column], leaf)
    torch.testing.assert_close(pixels.pixels[0, 0], expected[0])


def test_tokens_are_refused_in_one_line(model):
    for refused in (
        lambda: activation_maximization.render(model, ["tokens:0"], steps=1),
        lambda: deconvnet.project(model, torch.rand(1, 3, 20, 16), ["tokens:0"]),
        lambda: objectives.score_images(
            objectives.neuron("tokens", [0]), model, torch.rand(1, 3, 20, 16)
        ),
    ):
        with pytest.raises(InputError, match="63 tokens of 7 numbers") as error:
            refused()
        assert "\n" not in str(error.value)
