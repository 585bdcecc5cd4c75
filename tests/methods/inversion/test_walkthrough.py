"""The walkthrough of F8 begins with the image and ends with the two inverted images."""

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, features
from cnnvis_lab.core.optimization import Options
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


def test_the_walkthrough_ends_with_the_inversion_and_the_decoders_image(model, image):
    decoder = decoders.load("decoder_CL2", weights="random")
    decoders_by_layer = {"CL2.relu": decoder}
    walkthrough = inversion.walkthrough(model, LAYERS, image, decoders_by_layer, steps=8, seed=1)
    codes = features.extract(model, image[None], LAYERS)
    inverted = inversion.invert(model, {"CL2.relu": codes["CL2.relu"]}, steps=8, options=Options(1))
    assert torch.equal(walkthrough.iterates[-1], inverted.images[0, 0, 0])
    assert walkthrough.errors[-1] == pytest.approx(float(inverted.errors), rel=1e-5)
    steps, iterates, errors = walkthrough.steps, walkthrough.iterates, walkthrough.errors
    assert steps[0] == 1 and steps[-1] == 8 and len(steps) == len(iterates)
    for step, iterate, error in zip(steps, iterates, errors, strict=True):
        reached = features.extract(model, iterate[None], ["CL2.relu"])["CL2.relu"]
        expected = inversion.feature_error(reached, codes["CL2.relu"])
        assert error == pytest.approx(expected.item(), rel=1e-4), step
    maps = walkthrough.decoder_maps
    assert torch.equal(maps[-1], decoder.draw(codes["CL2.relu"])[0])
    assert len(walkthrough.decoder_stages) == len(maps) and maps[0].shape == (16, 16)
    assert torch.equal(walkthrough.encoder_maps[0], image)


def test_the_map_shown_is_the_one_with_the_most_energy():
    maps = torch.zeros(1, 3, 4, 4)
    maps[0, 0, 1, 1], maps[0, 2, 0] = 3.0, 2.0  # a peak, and a row with more energy
    assert torch.equal(map_of_most_energy(maps), maps[0, 2])


def test_a_layer_without_feature_maps_is_refused(model, image):
    with pytest.raises(InputError, match=r"FL1\.relu has no feature maps"):
        inversion.walkthrough(model, ["CL1.relu", "FL1.relu"], image, steps=1)


def test_the_layers_shown_end_with_the_last_one_that_has_a_decoder():
    codes = {f"{n}": torch.zeros(1, 2, 3, 3) for n in range(8)} | {"last": torch.zeros(1, 2)}
    shown = inversion.walkthrough_layers
    assert shown(codes) == [*"01234"] == shown(codes, ["4", "last"])
    assert shown(codes, ["1", "6"]) == [*"23456"]
    assert shown(codes, ["1"]) == [*"01"]
    assert shown({}, ["6"]) == []
