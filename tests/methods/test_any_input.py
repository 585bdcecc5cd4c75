"""Methods take images of any number of channels, and rectangles."""

from dataclasses import replace

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.data import Subset
from cnnvis_lab.methods import (
    activation_maximization,
    deconvnet,
    dissection,
    inversion,
    perturbation,
)

SIZES = [(24, 24), (24, 16), (14, 26)]


def _model(channels: int, size: tuple[int, int]) -> models.Model:
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)]
    return models.load(nn.Sequential(*layers, *head), input_size=size)


def _images(channels: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, channels, *size, generator=generator)


@pytest.fixture(params=[1, 2, 3, 4, 6])
def channels(request) -> int:
    return request.param


@pytest.fixture(params=SIZES, ids=str)
def size(request) -> tuple[int, int]:
    return request.param


@pytest.mark.parametrize("recipe", [*activation_maximization.RECIPES])
def test_every_recipe_renders_images_of_the_networks_input(recipe, size):
    for count in (1, 4):
        found = activation_maximization.render(_model(count, size), ["7:0"], recipe=recipe, steps=2)
        assert found.images.shape == (1, count, *size) and found.images.isfinite().all()


def test_units_directions_and_scopes_are_rendered(channels, size):
    model = _model(channels, size)
    for scope in ("field", "input", "channel"):
        found = activation_maximization.render(model, ["3:0", "3:1"], steps=2, scope=scope)
        y0, x0, y1, x1 = found.canvas.field
        assert found.patches.shape == (2, channels, y1 - y0, x1 - x0)
    starts = _images(channels, size)[:1]
    assert activation_maximization.render(model, ["7:1"], steps=2, starts=starts).images.any()
    directions = activation_maximization.render_directions(model, "3", torch.eye(5), steps=2)
    assert directions.images.shape[:2] == (5, channels)


def test_projections_have_the_shape_of_the_images(channels, size):
    model, images = _model(channels, size), _images(channels, size)
    for rule in ("deconvnet", "guided", "gradient"):
        found = deconvnet.project(model, images, ["3:0", "7:2"], rule=rule, start_value=1.0)
        assert found.pixels.shape == (3, 2, channels, *size) and found.pixels.any()
        outside = deconvnet.energy_outside_field(model, found)
        assert outside.abs().max() < 1e-6


def test_codes_are_inverted(channels, size):
    model, images = _model(channels, size), _images(channels, size)
    codes = features.extract(model, images, ["3"])
    found = inversion.invert(model, codes, steps=4)
    assert found.images.shape == (1, 3, 1, channels, *size)
    assert perturbation.importance(model, "3", images, by="gradient").any()


def test_units_are_dissected(channels, size):
    data, images = random_data(), _images(channels, size).repeat(6, 1, 1, 1)
    data = LabelledTensors(images, data.maps[: len(images)], data.labels)
    coarse = replace(dissection.CONVENTIONS["original"], quantile=0.1)
    (table,) = dissection.dissect(_model(channels, size), data, ["3"], convention=coarse).values()
    assert len(table) == 5 and table.mask_pixels.any()
    images_only = Subset(data, range(len(data)))
    top = deconvnet.top_projections(_model(channels, size), images_only, ["3"], k=2)
    assert top["3"].projections.shape[2] == channels


def test_a_gray_network_projects_the_gray_values_of_color_images():
    model, images = _model(1, (24, 24)), _images(3, (24, 24))
    gray = model.resize(images)
    expected = deconvnet.project(model, gray, ["3:0", "7:2"]).pixels
    found = deconvnet.project(model, images, ["3:0", "7:2"]).pixels
    assert found.equal(expected) and found.shape[2] == 1
    data = random_data()
    colored = LabelledTensors(_images(3, (24, 24)), data.maps[:3], data.labels)
    top = deconvnet.top_projections(model, Subset(colored, range(3)), ["3"], k=1)
    assert top["3"].projections.shape[2] == 1
