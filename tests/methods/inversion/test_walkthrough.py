"""The two ways of inversion, stage by stage: they begin and end where they should; drawn whole."""

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, features
from cnnvis_lab.lab import figures
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion.walkthrough import map_of_most_energy
from cnnvis_lab.models import decoders

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ["CL1.relu", "CL2.relu"]


@pytest.fixture(scope="module")
def model() -> models.Model:
    return models.load("alexnet_mini", weights="random")


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    low = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(low, size=128, mode="bilinear")[0]


def test_the_way_ends_at_what_inversion_finds_and_the_decoder_draws(model, image):
    painter = decoders.load("decoder_CL2", weights="random")
    way = inversion.walkthrough(model, LAYERS, image, painter, steps=8, seed=1)
    codes = features.extract(model, image[None], LAYERS)
    found = inversion.invert(model, {"CL2.relu": codes["CL2.relu"]}, steps=8, seed=1)
    assert torch.equal(way.descent[-1], found.images[0, 0, 0])
    assert way.errors[-1] == pytest.approx(float(found.errors), rel=1e-5)
    assert way.taken[0] == 1 and way.taken[-1] == 8 and len(way.taken) == len(way.descent)
    for taken, picture, error in zip(way.taken, way.descent, way.errors, strict=True):
        again = features.extract(model, picture[None], ["CL2.relu"])["CL2.relu"]
        own = inversion.feature_error(again, codes["CL2.relu"])
        assert error == pytest.approx(own.item(), rel=1e-4), taken
    assert torch.equal(way.decoded[-1], painter.draw(codes["CL2.relu"])[0])
    assert len(way.stages) == len(way.decoded) and way.decoded[0].shape == (16, 16)
    assert torch.equal(way.encoded[0], image)


def test_the_map_shown_is_the_strongest():
    maps = torch.zeros(1, 3, 4, 4)
    maps[0, 0, 1, 1], maps[0, 2, 0] = 3.0, 2.0  # one peak against a row of more energy
    assert torch.equal(map_of_most_energy(maps), maps[0, 2])


def test_a_code_without_maps_is_refused(model, image):
    with pytest.raises(InputError, match=r"FL1\.relu has no maps"):
        inversion.walkthrough(model, ["CL1.relu", "FL1.relu"], image, steps=1)


@pytest.mark.parametrize("decoded", [0, 2])
def test_the_flow_is_drawn_with_every_cell_within_the_page(decoded):
    maps = [torch.rand(3, 8, 8), *torch.rand(2, 5, 5)]
    figure = figures.inversion.walkthrough(
        maps,
        maps[:1] * 2,
        maps[1 : 1 + decoded],
        names=["a", "b", "c"],
        steps=["d", "e"],
        stages=["f", "g"][:decoded],
    )
    assert len(figure.axes) == 5 + decoded
    for cell in figure.axes:
        box = cell.get_position()
        assert 0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1
    assert figures.to_png(figure)[:4] == b"\x89PNG"


def test_numbers_over_layers_stand_at_their_layers_places():
    panel = figures.inversion.LayerChart("title", "unit", {"line": {"CL3": 0.5, "CL1.relu": 0.25}})
    figure = figures.inversion.charts_by_layer([[panel]], ["CL1.relu", "CL2", "CL3"])
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2, 0] and line.get_ydata().tolist() == [0.5, 0.25]
    words = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert words == ["CL1", "CL2", "CL3"]
    long = figures.inversion.LayerChart("title", "unit", {"line": {"features.3": 0.5}})
    figure = figures.inversion.charts_by_layer([[long]], ["features.3"])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1"]
