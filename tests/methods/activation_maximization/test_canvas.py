"""A canvas contains the unit's receptive field without padding."""

import pytest
import torch

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


def test_a_fully_connected_unit_sees_the_whole_input(mini):
    canvas = activation_maximization.canvas_for(mini, "FL1", PLAIN)
    assert canvas == activation_maximization.full_canvas(128)
    images = torch.rand(2, 3, 128, 128)
    assert torch.equal(canvas.crop(images), images)
