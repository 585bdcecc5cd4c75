"""Inversion: zero error at the original; layers, images and starts together are those alone."""

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
    unmoved = replace(inversion.RECIPES["none"], bounded=False)
    at_it = inversion.invert(model, codes, recipe=unmoved, starts=images[:1], steps=3)
    assert at_it.errors.max() < 1e-5 and at_it.steps.max() == 1
    assert torch.equal(at_it["conv"], images[:1])
    away = inversion.invert(model, codes, recipe=unmoved, steps=1)
    assert away.history[0].min() > 0.2 and away.history[0].max() < 5


def test_layers_and_images_together_are_those_alone(model, images):
    codes = features.extract(model, images, LAYERS)
    together = inversion.invert(model, codes, steps=6, starts=2, options=Options(3))
    assert together.images.shape == (3, 2, 2, 3, SIZE, SIZE)
    alone = inversion.invert(
        model, {"pool": codes["pool"][1:]}, steps=6, starts=2, options=Options(3)
    )
    assert torch.allclose(together.images[1, 1], alone.images[0, 0], atol=1e-5)
    assert torch.allclose(together.history[:, 1, 1], alone.history[:, 0, 0], atol=1e-5)
    tight = inversion.invert(model, codes, steps=6, starts=2, options=Options(3, memory_limit=1))
    assert torch.allclose(together.images, tight.images, atol=1e-5)


@pytest.mark.parametrize("name", inversion.RECIPES)
def test_every_recipe_reduces_the_feature_error(model, images, name):
    jitter = any(inversion.RECIPES[name].jitter)
    # The output of an untrained fully connected layer depends on shifts.
    codes = features.extract(model, images, LAYERS[:2] if jitter else LAYERS)
    still = inversion.invert(model, codes, recipe=name, steps=2, options=Options(5))
    found = inversion.invert(model, codes, recipe=name, steps=60, options=Options(5))
    assert (found.errors < 0.8 * still.history[0]).all()
    if inversion.RECIPES[name].bounded:
        assert found.images.min() >= 0 and found.images.max() <= 1


def test_an_image_that_is_good_enough_no_longer_changes(model, images):
    codes = features.extract(model, images, LAYERS)
    limits = {"conv": 0.3, "full": 0.2}
    found = inversion.invert(model, codes, steps=40, stop_below=limits)
    whole = inversion.invert(model, codes, steps=40)
    for index, layer in enumerate(LAYERS):
        limit, history = limits.get(layer, EXACT_ERROR), whole.history[:, index]
        expected = torch.where(
            (history <= limit).any(0), (history <= limit).int().argmax(0) + 1, 40
        )
        assert torch.equal(found.steps[index], expected.float())
        if layer in limits:
            assert (found.errors[index] <= limit + 1e-5).all() and (expected < 40).any()
    assert torch.allclose(found.images[1], whole.images[1], atol=1e-5)


def test_features_outside_a_mask_are_free(model, images):
    codes = features.extract(model, images, ["pool"])
    mask = torch.zeros(1, 12, 12)
    mask[:, 4:8, 4:8] = 1
    found = inversion.invert(model, codes, steps=120, recipe="none", masks={"pool": mask})
    reached = features.extract(model, found["pool"], ["pool"])["pool"]
    distances = (reached - codes["pool"]).square()
    assert (distances * mask).sum() < 0.05 * (codes["pool"].square() * mask).sum()
    assert (distances * (1 - mask)).sum() > 0.2 * (codes["pool"].square() * (1 - mask)).sum()
    assert torch.allclose(
        found.errors[0, :, 0], inversion.feature_error(reached, codes["pool"], mask), atol=1e-6
    )


def test_mistakes_are_explained_in_one_line(model, images):
    codes = features.extract(model, images, LAYERS)
    uneven = {"conv": codes["conv"], "full": codes["full"][:1]}
    for error, message, call in (
        (InputError, "as many for every layer", lambda: inversion.invert(model, uneven)),
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
    found = inversion.invert(model, codes, steps=40)
    assert (found.errors < 0.5 * found.history[0]).all()
