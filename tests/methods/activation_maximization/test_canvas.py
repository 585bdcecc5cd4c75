"""A canvas contains the unit's receptive field without padding."""

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.methods import activation_maximization

PLAIN = activation_maximization.RECIPES["none"]  # without transformations that need a margin


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


@pytest.mark.parametrize("layer", ["CL1", "CL2", "CL3"])
def test_a_units_gradient_lies_only_in_its_receptive_field(mini, layer):
    canvas = activation_maximization.canvas_for(mini, layer, PLAIN)
    image = torch.rand(1, 3, canvas.size, canvas.size, requires_grad=True)
    output = hooks.activations(mini, image, [layer])[layer]
    y, x = canvas.position
    (gradient,) = torch.autograd.grad(output[0, :, y, x].sum(), image)
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    y0, x0, y1, x1 = canvas.field
    assert (rows.min() >= y0, columns.min() >= x0) == (True, True)
    assert (rows.max() < y1, columns.max() < x1) == (True, True)
    if canvas.size < mini.card.input_size:  # padding must not reach into the field
        assert min(canvas.field) >= 0 and max(canvas.field) <= canvas.size


def test_a_recipe_that_shifts_images_gets_a_margin(mini):
    recipe = activation_maximization.RECIPES["default"]
    plain = activation_maximization.canvas_for(mini, "CL2", PLAIN)
    wide = activation_maximization.canvas_for(mini, "CL2", recipe)
    assert wide.field_pixels == plain.field_pixels
    assert wide.size >= plain.size + recipe.margin
    assert min(wide.field) >= recipe.margin


def test_a_unit_of_the_full_input_is_in_the_middle_of_its_map(mini):
    canvas = activation_maximization.canvas_for(mini, "CL2", PLAIN, full_input=True)
    height, width = mini.layer_shapes(["CL2"])["CL2"][1:]
    assert canvas.size == 128 and canvas.position == (height // 2, width // 2)


class _Shuffled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(x, 2), 2).roll(3, -1)


class _Excited(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True)


def _classifier(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


@pytest.mark.parametrize("module", [_Excited(), nn.GroupNorm(1, 3), _Shuffled()])
def test_a_field_that_is_the_whole_image_or_unknown_gets_the_whole_canvas(module, recwarn):
    net = _classifier(module, nn.Conv2d(3, 4, 3))
    model = models.load(net, input_size=32)
    canvas = activation_maximization.canvas_for(model, "1", PLAIN)
    assert canvas == (32, (15, 15), (0, 0, 32, 32))
    assert len(recwarn) == isinstance(module, _Shuffled)
    recwarn.clear()
    images = activation_maximization.render(model, ["1:0"], steps=2).images
    assert images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("googlenet", "conv2"), ("convnext_tiny", "features.1.0"), ("vit_b_16", "conv_proj")],
)
def test_networks_that_slice_permute_or_check_their_input_are_rendered(name, layer):
    model = models.load(name, weights="random")
    canvas = activation_maximization.canvas_for(model, layer, PLAIN)
    assert (canvas.size == 224) == (name == "vit_b_16")
    rendering = activation_maximization.render(model, [f"{layer}:1"], steps=1)
    y0, x0, y1, x1 = rendering.canvas.field
    assert rendering.patches.shape == (1, 3, y1 - y0, x1 - x0)


def test_a_fully_connected_unit_sees_the_whole_input(mini):
    canvas = activation_maximization.canvas_for(mini, "FL1", PLAIN)
    assert canvas == activation_maximization.full_canvas(128)
    images = torch.rand(2, 3, 128, 128)
    assert torch.equal(canvas.crop(images), images)
