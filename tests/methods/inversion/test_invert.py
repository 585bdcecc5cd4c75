"""Inversion: zero loss at the original, every layer at once as alone, recipes that descend."""

from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from skimage.feature import hog as skimage_hog
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, features, hooks
from cnnvis_lab.core.early_exit import activations_at
from cnnvis_lab.core.optimization import objectives, optimizers
from cnnvis_lab.core.optimization.objectives import per_image
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion import recipes
from cnnvis_lab.methods.inversion.invert import EXACT_ERROR
from cnnvis_lab.models import hog

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ["conv", "pool", "full"]
SIZE = 24


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 8, 3, padding=1),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(8, 8, 3),
        "relu2": nn.ReLU(),
        "flatten": nn.Flatten(),
        "full": nn.Linear(8 * 10 * 10, 10),
    }
    return nn.Sequential(OrderedDict(layers))


class Skipping(nn.Module):
    """A network whose second convolution is added to what lies before it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        return (first + self.second(first)).mean((2, 3))


@pytest.fixture(scope="module")
def net() -> models.Model:
    return models.load(_net(), input_size=SIZE)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    low = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(low, size=SIZE, mode="bilinear") * 0.8 + 0.1


@pytest.mark.parametrize("module", [_net, Skipping])
def test_an_image_that_leaves_early_gives_what_it_gives_alone(module):
    model = models.load(module(), input_size=SIZE)
    layers = ["conv", "full", "pool", "conv"] if module is _net else ["second", "first"] * 2
    images = torch.rand(4, 3, SIZE, SIZE, requires_grad=True)
    left = activations_at(model, images, layers)
    for layer in set(layers):
        rows = [i for i, name in enumerate(layers) if name == layer]
        alone = hooks.activations(model, images[rows], [layer])[layer]
        assert torch.allclose(left[layer], alone, atol=1e-6)
    sum(values.square().sum() for values in left.values()).backward()
    assert images.grad.flatten(1).any(1).all()


def test_no_image_is_carried_further_than_its_layer():
    model, seen = models.load(_net(), input_size=SIZE), []
    model.net.relu2.register_forward_hook(lambda *_: seen.append(len(_[1][0])))
    activations_at(model, torch.rand(5, 3, SIZE, SIZE), ["conv", "full", "conv", "pool", "full"])
    assert seen[-1] == 2


def test_objectives_side_by_side_are_those_alone(net, pictures):
    codes = features.extract(net, pictures, LAYERS)
    parts = [objectives.match(layer, codes[layer]) for layer in LAYERS]
    parts[0] = parts[0] + 0.3 * objectives.total_variation()
    together = per_image([(part, 2) for part in parts])
    images, index = torch.rand(6, 3, SIZE, SIZE), torch.arange(6)
    scores = objectives.scores(together, net, images, index, images)
    some = objectives.scores(together, net, images[[1, 4, 5]], index[[1, 4, 5]], images[[1, 4, 5]])
    for place, part in enumerate(parts):
        own = images[2 * place : 2 * place + 2]
        alone = objectives.scores(part, net, own, torch.arange(2), own)
        assert torch.allclose(scores[2 * place : 2 * place + 2], alone, rtol=1e-5)
    assert torch.allclose(some, scores[[1, 4, 5]], rtol=1e-5)


def test_the_error_is_zero_at_the_original_and_about_one_at_gray_noise(net, pictures):
    codes = features.extract(net, pictures[:1], LAYERS)
    unmoved = replace(inversion.RECIPES["none"], bounded=False)
    at_it = inversion.invert(net, codes, recipe=unmoved, starts=pictures[:1], steps=3)
    assert at_it.errors.max() < 1e-5 and at_it.steps.max() == 1
    assert torch.equal(at_it["conv"], pictures[:1])
    away = inversion.invert(net, codes, recipe=unmoved, steps=1)
    assert away.history[0].min() > 0.2 and away.history[0].max() < 5


def test_layers_and_pictures_together_are_those_alone(net, pictures):
    codes = features.extract(net, pictures, LAYERS)
    together = inversion.invert(net, codes, steps=6, starts=2, seed=3)
    assert together.images.shape == (3, 2, 2, 3, SIZE, SIZE)
    alone = inversion.invert(net, {"pool": codes["pool"][1:]}, steps=6, starts=2, seed=3)
    assert torch.allclose(together.images[1, 1], alone.images[0, 0], atol=1e-5)
    assert torch.allclose(together.history[:, 1, 1], alone.history[:, 0, 0], atol=1e-5)
    tight = inversion.invert(net, codes, steps=6, starts=2, seed=3, memory_limit=1)
    assert torch.allclose(together.images, tight.images, atol=1e-5)


@pytest.mark.parametrize("name", inversion.RECIPES)
def test_every_recipe_comes_nearer_to_the_features(net, pictures, name):
    jitter = any(inversion.RECIPES[name].jitter)
    # An untrained full layer tells shifted pictures apart.
    codes = features.extract(net, pictures, LAYERS[:2] if jitter else LAYERS)
    still = inversion.invert(net, codes, recipe=name, steps=2, seed=5)
    found = inversion.invert(net, codes, recipe=name, steps=60, seed=5)
    assert (found.errors < 0.8 * still.history[0]).all()
    if inversion.RECIPES[name].bounded:
        assert found.images.min() >= 0 and found.images.max() <= 1


def test_a_picture_that_is_good_enough_is_left_as_it_is(net, pictures):
    codes = features.extract(net, pictures, LAYERS)
    goals = {"conv": 0.3, "full": 0.2}
    found = inversion.invert(net, codes, steps=40, stop_below=goals)
    whole = inversion.invert(net, codes, steps=40)
    for place, layer in enumerate(LAYERS):
        goal, history = goals.get(layer, EXACT_ERROR), whole.history[:, place]
        expected = torch.where((history <= goal).any(0), (history <= goal).int().argmax(0) + 1, 40)
        assert torch.equal(found.steps[place], expected.float())
        if layer in goals:
            assert (found.errors[place] <= goal + 1e-5).all() and (expected < 40).any()
    assert torch.allclose(found.images[1], whole.images[1], atol=1e-5)


def test_a_mask_leaves_what_it_covers_free(net, pictures):
    codes = features.extract(net, pictures, ["pool"])
    mask = torch.zeros(1, 12, 12)
    mask[:, 4:8, 4:8] = 1
    found = inversion.invert(net, codes, steps=120, recipe="none", masks={"pool": mask})
    reached = features.extract(net, found["pool"], ["pool"])["pool"]
    apart = (reached - codes["pool"]).square()
    assert (apart * mask).sum() < 0.05 * (codes["pool"].square() * mask).sum()
    assert (apart * (1 - mask)).sum() > 0.2 * (codes["pool"].square() * (1 - mask)).sum()
    assert torch.allclose(
        found.errors[0, :, 0], inversion.feature_error(reached, codes["pool"], mask), atol=1e-6
    )


def test_a_subset_of_filters_is_a_mask_over_channels(net, pictures):
    codes = features.extract(net, pictures, ["pool"])
    mask = torch.tensor([1.0] * 4 + [0.0] * 4).view(8, 1, 1)
    whole, part = objectives.match("pool", codes["pool"], mask=mask), codes["pool"].clone()
    part[:, 4:] = 99.0
    score = objectives.scores(whole, net, pictures, torch.arange(2), pictures)
    assert score.abs().max() < 1e-9
    other = objectives.match("pool", part, mask=mask)
    assert objectives.scores(other, net, pictures, torch.arange(2), pictures).abs().max() < 1e-9


def _authors_descent(net: models.Model, code: Tensor, start: Tensor) -> Tensor:
    """invert_nn.m, by hand and on 0..255: x less gray, one layer, one picture."""
    sigma2 = 27098.1157**2 / (227 * 227 * 3) * start.numel()
    x, speed, before = (start - 0.5) * 255, torch.zeros_like(start), None
    for rate in [0.004] * 25 + [0.0004] * 50 + [0.00004] * 25:
        x = x.detach().requires_grad_()
        feature = hooks.activations(net, x / 255 + 0.5, ["pool"])["pool"]
        error = (feature - code).square().sum() / code.square().sum()
        padded = nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
        dx, dy = padded[..., :-1, 1:] - x, padded[..., 1:, :-1] - x
        variation = 1.0 / 2 * (dx**2 + dy**2).sum()
        energy = error + (variation + 8e-10 / 2 * (x**6).sum()) / sigma2
        (gradient,) = torch.autograd.grad(energy, x)
        speed = (0.9 * speed if rate == before else 0 * speed) - rate * sigma2 * gradient
        x, before = x + speed, rate
    return (x / 255 + 0.5).detach()


def test_the_2015_recipe_is_the_authors_descent(net, pictures):
    """Where the step is not cut: begun near the picture, whose features then change slowly."""
    double = models.load(_net(), input_size=SIZE).double()
    code = features.extract(double, pictures[:1].double(), ["pool"])["pool"]
    start = (pictures[:1] * 0.9 + 0.05).double()
    recipe = inversion.mahendran2015(variation=1.0)
    found = inversion.invert(double, {"pool": code}, recipe=recipe, starts=start, steps=100)
    by_hand = _authors_descent(double, code, start)
    assert torch.allclose(found.images[0, 0, 0], by_hand[0], atol=1e-6)


def test_depth_counts_what_has_weights(net):
    depths = [recipes.relative_depth(net, layer) for layer in ("conv", "relu", "conv2", "full")]
    assert depths == [0, 0, 1 / 3, 2 / 3]


def test_mistakes_are_named_in_one_line(net, pictures):
    codes = features.extract(net, pictures, LAYERS)
    uneven = {"conv": codes["conv"], "full": codes["full"][:1]}
    for error, says, bad in (
        (InputError, "as many for every layer", lambda: inversion.invert(net, uneven)),
        (InputError, "none; expected", lambda: inversion.invert(net, {})),
        (InputError, "at least 1", lambda: inversion.invert(net, codes, steps=0)),
        (NameNotFound, "mahendran2015", lambda: inversion.invert(net, codes, recipe="mahendran")),
        (InputError, "codes of shape", lambda: inversion.invert(net, {"conv": codes["pool"]})),
        (InputError, "one layer each", lambda: per_image([(objectives.l2(), 1)])),
    ):
        with pytest.raises(error, match=says) as caught:
            bad()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(48, 64), (50, 45)])
def test_the_histogram_of_gradients_is_scikit_images(size):
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    images[2, :, 10:30, 10:30] = 0.25  # flat somewhere
    expected = [skimage_hog(image.permute(1, 2, 0).numpy(), channel_axis=2) for image in images]
    found = hog.Blocks()(hog.Cells()(images))
    assert torch.allclose(found, torch.stack([torch.from_numpy(e) for e in expected]), atol=1e-9)


def test_a_histogram_of_gradients_is_inverted_by_the_same_code(pictures):
    model = hog.descriptor(SIZE)
    codes = features.extract(model, pictures, ["blocks"])
    found = inversion.invert(model, codes, steps=40)
    assert (found.errors < 0.5 * found.history[0]).all()


def test_strokes_run_along_the_edges():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 12:20] = 1  # upright edges
    drawn = hog.glyphs(hog.Cells()(stripes))[0]
    assert drawn.sum(1).std() < drawn.sum(0).std()


def test_capped_and_directed_steps_do_not_grow_with_the_gradient():
    at, gradient = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    gradient = gradient / gradient.flatten(1).square().mean(1).sqrt().view(-1, 1, 1, 1)
    capped = optimizers.clipped(optimizers.sgd(0.1), 2.0)
    assert torch.allclose(
        capped(at, gradient, 0, {}), 0.1 * gradient
    )  # short ones pass as they are
    assert torch.allclose(capped(at, 50 * gradient, 0, {}), 0.2 * gradient, rtol=1e-5)
    directed, memory = optimizers.normalized_momentum(3.0, momentum=0.5), {}
    first = directed(at, gradient, 0, memory)
    second = directed(at, 100 * gradient, 1, memory)
    assert first.flatten(1).norm(dim=1).tolist() == pytest.approx([1.5, 1.5])
    assert second.flatten(1).norm(dim=1).tolist() == pytest.approx([2.25, 2.25])
