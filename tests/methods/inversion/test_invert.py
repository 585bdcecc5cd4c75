"""Inversion: zero error at the original; inverting together equals inverting alone."""

from dataclasses import replace

import pytest
import torch
from support.small_chain import layered_net
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, features
from cnnvis_lab.core.optimization import Options, objectives
from cnnvis_lab.core.optimization.objectives import per_image
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion.invert import EXACT_ERROR
from cnnvis_lab.models import hog

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ["conv", "pool", "full"]
SIZE = 24


@pytest.fixture(scope="module")
def model() -> models.Model:
    return models.load(layered_net(), input_size=SIZE)


@pytest.fixture(scope="module")
def images() -> Tensor:
    low = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(low, size=SIZE, mode="bilinear") * 0.8 + 0.1


def test_the_error_is_zero_at_the_original_and_about_one_at_gray_noise(model, images):
    codes = features.extract(model, images[:1], LAYERS)
    recipe = replace(inversion.RECIPES["none"], bounded=False)
    from_original = inversion.invert(model, codes, recipe=recipe, starts=images[:1], steps=3)
    assert from_original.errors.max() < 1e-5 and from_original.steps.max() == 1
    assert torch.equal(from_original["conv"], images[:1])
    from_noise = inversion.invert(model, codes, recipe=recipe, steps=1)
    assert from_noise.history[0].min() > 0.2 and from_noise.history[0].max() < 5


def test_inverting_layers_and_images_together_equals_inverting_each_alone(model, images):
    codes = features.extract(model, images, LAYERS)
    together = inversion.invert(model, codes, steps=6, starts=2, options=Options(3))
    assert together.images.shape == (3, 2, 2, 3, SIZE, SIZE)
    alone = inversion.invert(
        model, {"pool": codes["pool"][1:]}, steps=6, starts=2, options=Options(3)
    )
    assert torch.allclose(together.images[1, 1], alone.images[0, 0], atol=1e-5)
    assert torch.allclose(together.history[:, 1, 1], alone.history[:, 0, 0], atol=1e-5)
    in_chunks = inversion.invert(
        model, codes, steps=6, starts=2, options=Options(3, memory_limit=1)
    )
    assert torch.allclose(together.images, in_chunks.images, atol=1e-5)


@pytest.mark.parametrize("name", inversion.RECIPES)
def test_every_recipe_reduces_the_feature_error(model, images, name):
    jitter = any(inversion.RECIPES[name].jitter)
    # The output of an untrained fully connected layer depends on shifts.
    codes = features.extract(model, images, LAYERS[:2] if jitter else LAYERS)
    two_steps = inversion.invert(model, codes, recipe=name, steps=2, options=Options(5))
    inverted = inversion.invert(model, codes, recipe=name, steps=60, options=Options(5))
    assert (inverted.errors < 0.8 * two_steps.history[0]).all()
    if inversion.RECIPES[name].bounded:
        assert inverted.images.min() >= 0 and inverted.images.max() <= 1


def test_an_image_stops_changing_when_its_error_is_below_the_limit(model, images):
    codes = features.extract(model, images, LAYERS)
    limits = {"conv": 0.3, "full": 0.2}
    limited = inversion.invert(model, codes, steps=40, stop_below=limits)
    unlimited = inversion.invert(model, codes, steps=40)
    for index, layer in enumerate(LAYERS):
        limit, history = limits.get(layer, EXACT_ERROR), unlimited.history[:, index]
        expected = torch.where(
            (history <= limit).any(0), (history <= limit).int().argmax(0) + 1, 40
        )
        assert torch.equal(limited.steps[index], expected.float())
        if layer in limits:
            assert (limited.errors[index] <= limit + 1e-5).all() and (expected < 40).any()
    assert torch.allclose(limited.images[1], unlimited.images[1], atol=1e-5)


def test_features_outside_a_mask_are_not_constrained(model, images):
    codes = features.extract(model, images, ["pool"])
    mask = torch.zeros(1, 12, 12)
    mask[:, 4:8, 4:8] = 1
    inverted = inversion.invert(model, codes, steps=120, recipe="none", masks={"pool": mask})
    reached = features.extract(model, inverted["pool"], ["pool"])["pool"]
    distances = (reached - codes["pool"]).square()
    assert (distances * mask).sum() < 0.05 * (codes["pool"].square() * mask).sum()
    assert (distances * (1 - mask)).sum() > 0.2 * (codes["pool"].square() * (1 - mask)).sum()
    assert torch.allclose(
        inverted.errors[0, :, 0], inversion.feature_error(reached, codes["pool"], mask), atol=1e-6
    )


def test_mistakes_are_explained_in_one_line(model, images):
    codes = features.extract(model, images, LAYERS)
    uneven = {"conv": codes["conv"], "full": codes["full"][:1]}
    for error, message, call in (
        (InputError, "the same number for every layer", lambda: inversion.invert(model, uneven)),
        (InputError, "none; expected", lambda: inversion.invert(model, {})),
        (InputError, "at least 1", lambda: inversion.invert(model, codes, steps=0)),
        (NameNotFound, "mahendran2015", lambda: inversion.invert(model, codes, recipe="mahendran")),
        (InputError, "codes of shape", lambda: inversion.invert(model, {"conv": codes["pool"]})),
        (InputError, "one layer each", lambda: per_image([(objectives.l2(), 1)])),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_histogram_of_gradients_is_inverted_by_the_same_code(images):
    model = hog.descriptor(SIZE)
    codes = features.extract(model, images, ["blocks"])
    inverted = inversion.invert(model, codes, steps=40)
    assert (inverted.errors < 0.5 * inverted.history[0]).all()
