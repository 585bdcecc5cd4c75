"""Decoders and autoencoders by layer."""

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import features
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion

pytestmark = pytest.mark.usefixtures("one_thread")


def test_decoders_are_those_of_the_given_layers():
    model = models.load("alexnet_mini")
    decoders = inversion.decoders_by_layer(model, ["FL3", "CL5.relu", "CL5"])
    assert list(decoders) == ["FL3", "CL5.relu"]
    images = SceneSet(HELD_OUT_SEED, 2).batch(range(2))
    codes = features.extract(model, images, list(decoders))
    decoded = inversion.decode(decoders, codes)
    assert torch.equal(decoded["FL3"], decoders["FL3"].draw(codes["FL3"]))
    autoencoders = inversion.autoencoders_by_layer(decoders)
    assert set(autoencoders) <= set(decoders) and "CL5.relu" in autoencoders
    again = inversion.decode(autoencoders, dict.fromkeys(decoders, images))
    assert again["CL5.relu"].shape == images.shape


def test_other_networks_have_no_decoders():
    untrained = models.load("alexnet_mini", weights="random")
    assert inversion.decoders_by_layer(untrained, ["CL5.relu"]) == {}
    assert inversion.decode({}, {}) == {}
    assert inversion.decode_by_generators(untrained, torch.rand(1, 3, 128, 128), ["FL1"]) == {}


def test_generators_draw_from_the_codes_of_their_layers():
    model = models.load("alexnet_mini")
    images = SceneSet(HELD_OUT_SEED, 2).batch(range(2))
    drawn = inversion.decode_by_generators(model, images, ["CL4.relu", "CL5.relu", "FL1", "FL3"])
    assert list(drawn) == ["CL5.relu", "FL1", "FL3"]
    codes = features.extract(model, images, ["pool5", "FL1.relu"])
    by_hand = models.generators.load("generator_CL5").draw(codes["pool5"])
    assert torch.equal(drawn["CL5.relu"], by_hand)
    assert not torch.equal(drawn["FL1"], drawn["FL3"])
