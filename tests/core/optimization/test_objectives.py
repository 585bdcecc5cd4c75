"""Scores equal values computed by hand, and arithmetic changes no operand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ascents
from support.small_chain import layered_net
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, LabError, features
from cnnvis_lab.core.optimization import objectives

UNITS = [2, 0, 3, 2]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    linear = nn.Linear(4 * 5 * 6, 7)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), linear).eval().double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 3, 7, 8, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def maps(net: nn.Module, images: Tensor) -> Tensor:
    return net[:2](images).detach()


def _score(
    objective: objectives.Objective, net: nn.Module, images: Tensor, start: int = 0
) -> Tensor:
    index = torch.arange(start, start + len(images))
    return ascents.score(objective, net, images, index).detach()


def _random(*shape: int, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_a_channels_score_is_the_mean_of_each_images_own_map(net, images, maps):
    expected = [maps[i, unit].mean() for i, unit in enumerate(UNITS)]
    assert torch.allclose(
        _score(objectives.channel("1", UNITS), net, images), torch.stack(expected)
    )


def test_channel_neuron_and_logit_of_a_fully_connected_layer_are_the_unit_itself(net, images):
    expected = net(images)[torch.arange(4), torch.tensor([6, 0, 3, 3])]
    for objective in (objectives.channel, objectives.neuron, objectives.logit):
        assert torch.equal(_score(objective("3", [6, 0, 3, 3]), net, images), expected.detach())


@pytest.mark.parametrize("position", [None, (0, 0), (4, 5), (1, 2)])
def test_a_neurons_score_is_one_position_of_its_map(net, images, maps, position):
    y, x = position or (2, 3)
    expected = torch.stack([maps[i, unit, y, x] for i, unit in enumerate(UNITS)])
    assert torch.equal(_score(objectives.neuron("1", UNITS, position), net, images), expected)


@pytest.mark.parametrize("position", ["mean", None, (4, 0)])
def test_a_direction_along_one_axis_is_that_channel_or_neuron(net, images, position):
    axes = torch.eye(4, dtype=torch.float64)[UNITS]
    by_unit = (
        objectives.channel("1", UNITS)
        if position == "mean"
        else objectives.neuron("1", UNITS, position)
    )
    along = _score(objectives.direction("1", axes, position), net, images)
    assert torch.allclose(along, _score(by_unit, net, images))


def test_a_direction_is_the_scalar_product_with_each_images_own_vector(net, images, maps):
    vectors, logits = _random(4, 4), _random(4, 7)
    expected = (maps.mean((2, 3)) * vectors).sum(1)
    assert torch.allclose(_score(objectives.direction("1", vectors), net, images), expected)
    expected = torch.einsum("nc,nc->n", net(images).detach(), logits)
    assert torch.allclose(_score(objectives.direction("3", logits), net, images), expected)


def test_a_chunk_is_scored_by_the_targets_of_its_own_images(net, images):
    vectors, codes = _random(4, 4), _random(4, 7)
    for objective in (
        objectives.channel("1", UNITS),
        objectives.neuron("1", UNITS),
        objectives.direction("1", vectors),
        objectives.match("3", codes),
    ):
        whole = _score(objective, net, images)
        parts = [_score(objective, net, images[i : i + 1], start=i) for i in range(4)]
        assert torch.allclose(torch.cat(parts), whole)


def test_every_image_gets_the_gradient_of_its_own_score(net, images):
    objective = (
        objectives.channel("1", UNITS)
        - 0.3 * objectives.total_variation()
        + objectives.match("3", _random(4, 7))
    )
    together = images.clone().requires_grad_()
    scores = ascents.score(objective, net, together, torch.arange(4))
    (gradient,) = torch.autograd.grad(scores.sum(), together)
    for i in range(4):
        alone = images[i : i + 1].clone().requires_grad_()
        score = ascents.score(objective, net, alone, torch.tensor([i]))
        assert torch.allclose(torch.autograd.grad(score.sum(), alone)[0][0], gradient[i])


@given(a=st.floats(-5, 5), b=st.floats(-5, 5), c=st.floats(0.1, 5))
@settings(max_examples=15, deadline=None)
def test_scores_are_linear_in_their_parts(net, images, a, b, c):
    first, second, third = (
        objectives.channel("1", UNITS),
        objectives.logit("3", [1, 2, 3, 4]),
        objectives.l2(),
    )
    combined = a * first - second * b + third / c + -first
    one, two, three = (_score(part, net, images) for part in (first, second, third))
    expected = a * one - b * two + three / c - one
    assert torch.allclose(_score(combined, net, images), expected, atol=1e-12)


def test_arithmetic_changes_no_operand(net, images):
    parts = [
        objectives.channel("1", UNITS),
        objectives.logit("3", [1, 2, 3, 4]),
        objectives.diversity("1", 2),
    ]
    before = [(part.layers, part.group, _score(part, net, images)) for part in parts]
    total = sum(parts)
    total += 2 * parts[0] / 3 - parts[1]
    _ = -total
    for part, (layers, group, score) in zip(parts, before, strict=True):
        assert (part.layers, part.group) == (layers, group)
        assert torch.equal(_score(part, net, images), score)
    with pytest.raises(AttributeError):
        parts[0].group = 3


def test_sums_read_every_layer_once_and_keep_whole_groups():
    first, again, last = (
        objectives.channel("1", UNITS),
        objectives.neuron("1", UNITS),
        objectives.logit("3", UNITS),
    )
    assert sum([first, again, last]).layers == ("1", "3")
    assert sum([first, objectives.l2()]).layers == ("1",) and objectives.l2().layers == ()
    both = objectives.diversity("1", 2) + 0.5 * objectives.diversity("1", 3)
    assert both.group == 6 and (-both).group == 6 and (first + both).group == 6


def _numpy_variation(image: np.ndarray, beta: float) -> float:
    total = 0.0
    channels, height, width = image.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                dx = image[c, y, min(x + 1, width - 1)] - image[c, y, x]
                dy = image[c, min(y + 1, height - 1), x] - image[c, y, x]
                total += max(dx * dx + dy * dy, 1e-8) ** (beta / 2)
    return total / image.size


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_total_variation_is_the_sum_over_forward_differences(net, images, beta):
    expected = [_numpy_variation(image, beta) for image in images.numpy()]
    scores = _score(objectives.total_variation(beta), net, images)
    assert np.allclose(scores.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_a_flat_image_has_no_variation_and_a_finite_gradient(net, beta):
    flat = torch.full((1, 3, 5, 6), 0.3, dtype=torch.float64, requires_grad=True)
    score = ascents.score(objectives.total_variation(beta), net, flat, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(score.sum(), flat)
    assert score.item() == pytest.approx(1e-8 ** (beta / 2))
    assert torch.equal(gradient, torch.zeros_like(flat))


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_the_variation_of_a_ramp_is_its_slope_except_at_the_replicated_border(net, beta):
    ramp = torch.arange(10.0).mul(0.05).expand(1, 3, 4, 10)
    expected = 0.05**beta * 9 / 10
    scores = float(_score(objectives.total_variation(beta), net, ramp))
    assert scores == pytest.approx(expected + 1e-8 ** (beta / 2) / 10, rel=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 6.0])
def test_the_alpha_norm_is_the_mean_power_of_the_distance_to_gray(net, images, alpha):
    expected = (np.abs(images.numpy() - 0.5) ** alpha).mean((1, 2, 3))
    scores = _score(objectives.alpha_norm(alpha), net, images)
    assert np.allclose(scores.numpy(), expected, rtol=1e-12)
    if alpha == 2:
        assert torch.allclose(scores, _score(objectives.l2(), net, images))


def _numpy_diversity(maps: np.ndarray, group: int) -> np.ndarray:
    flat = maps.reshape(*maps.shape[:2], -1)
    grams = [features @ features.T for features in flat]
    scores = []
    for i in range(len(maps)):
        start = i // group * group
        others = [j for j in range(start, start + group) if j != i]
        cosines = [
            (grams[i] * grams[j]).sum() / np.linalg.norm(grams[i]) / np.linalg.norm(grams[j])
            for j in others
        ]
        scores.append(-np.mean(cosines))
    return np.array(scores)


@pytest.mark.parametrize("group", [2, 4])
@pytest.mark.parametrize("layer", ["1", "3"])
def test_diversity_is_minus_the_mean_cosine_to_the_others_of_the_group(net, images, layer, group):
    outputs = net[: int(layer) + 1](images).detach().numpy()
    scores = _score(objectives.diversity(layer, group), net, images)
    assert np.allclose(scores.numpy(), _numpy_diversity(outputs, group))


def test_equal_images_are_least_diverse_independently_of_the_other_groups(net, images):
    twins = torch.stack([images[0], images[0], images[1], images[2]])
    scores = _score(objectives.diversity("1", 2), net, twins)
    assert torch.allclose(scores[:2], torch.tensor(-1.0, dtype=torch.float64))
    assert (scores[2:] > -0.999).all()
    among_others = torch.cat([images[2:], twins[:2]])
    assert torch.allclose(scores[:2], _score(objectives.diversity("1", 2), net, among_others)[2:])
    assert torch.allclose(scores[2:], _score(objectives.diversity("1", 2), net, twins[2:], start=2))


def test_images_without_a_common_channel_are_most_diverse():
    identity = nn.Sequential(nn.Identity())
    red, blue = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    red[0], blue[2] = torch.rand(4, 4), torch.rand(4, 4)
    scores = _score(objectives.diversity("0", 2), identity, torch.stack([red, blue]))
    assert torch.equal(scores.abs(), torch.zeros(2))


def test_diversity_of_an_incomplete_group_is_refused(net, images):
    with pytest.raises(InputError, match="3 images in groups of 2"):
        _score(objectives.diversity("1", 2), net, images[:3])


@pytest.mark.parametrize("layer", ["1", "3"])
def test_match_is_zero_at_the_code_and_minus_one_for_the_inner_product(net, images, layer):
    codes = net[: int(layer) + 1](images).detach()
    zero, one = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    for loss, expected in (("l2", zero), ("l1", zero), ("inner", -one)):
        assert torch.allclose(_score(objectives.match(layer, codes, loss), net, images), expected)
    # features that are zero, and features that are twice the code
    for factor, losses in ((0.0, (1.0, 1.0, 0.0)), (2.0, (1.0, 1.0, -2.0))):
        fake = {layer: codes * factor}
        for loss, value in zip(("l2", "l1", "inner"), losses, strict=True):
            score = objectives.match(layer, codes, loss).score(fake, images, torch.arange(4))
            assert torch.allclose(score, value * one)


def test_match_is_each_images_distance_relative_to_the_norm_of_its_code(net, images):
    codes = _random(4, 7)
    features, c = net(images).detach().numpy(), codes.numpy()
    formulas = {
        "l2": ((features - c) ** 2).sum(1) / (c**2).sum(1),
        "l1": np.abs(features - c).sum(1) / np.abs(c).sum(1),
        "inner": -(features * c).sum(1) / (c**2).sum(1),
    }
    for loss, expected in formulas.items():
        scores = _score(objectives.match("3", codes, loss), net, images)
        assert np.allclose(scores.numpy(), expected)


def test_image_scores_are_computed_before_the_transformation(net, images):
    index, transformed = torch.arange(4), images.flip(-1) * 0.5
    objective = objectives.channel("1", UNITS) + 10 * objectives.l2()
    scores = objectives.evaluate([objective], net, images, index, transformed)[0]
    expected = _score(objectives.channel("1", UNITS), net, transformed) + 10 * _score(
        objectives.l2(), net, images
    )
    assert torch.allclose(scores, expected)


@pytest.mark.parametrize(
    ("target", "parsed"),
    [("CL5:3", ("CL5", 3)), ("features.10:0", ("features.10", 0)), ("a:b:12", ("a:b", 12))],
)
def test_a_target_is_a_layer_and_a_unit(target, parsed):
    assert objectives.parse_target(target) == parsed


@pytest.mark.parametrize("target", ["", "CL5", "CL5:", ":3", "CL5:-1", "CL5:1.5", "CL5:x", "3:CL5"])
def test_a_target_of_another_form_is_refused_and_quoted(target):
    with pytest.raises(InputError, match="expected layer:unit") as caught:
        objectives.parse_target(target)
    assert repr(target) in str(caught.value) and "\n" not in str(caught.value)


REFUSED = {
    "unit 4 of 1: it has 4 units": lambda: objectives.channel("1", [0, 1, 4, 2]),
    "unit -1 of 1: it has 4 units": lambda: objectives.channel("1", [0, 1, 2, -1]),
    "unit 9 of 1: it has 4 units": lambda: objectives.neuron("1", [9, 0, 0, 0]),
    "unit 7 of 3: it has 7 units": lambda: objectives.logit("3", [0, 0, 0, 7]),
    "no target of its own on 1: 1 given": lambda: objectives.channel("1", [0]),
    "no target of its own on 3: 3 given": lambda: objectives.match("3", _random(3, 7)),
    "no target of its own on 1: 2 given": lambda: objectives.direction("1", _random(2, 4)),
    r"position \(5, 0\) of 1: its maps are 5x6": lambda: objectives.neuron("1", UNITS, (5, 0)),
    r"position \(0, -1\) of 1": lambda: objectives.direction("1", _random(4, 4), (0, -1)),
    "direction of 5 numbers: 1 has 4 units": lambda: objectives.direction("1", _random(4, 5)),
    r"codes of shape \(6,\): 3 gives \(7,\)": lambda: objectives.match("3", _random(4, 6)),
    "loss 'l3': expected l2, l1 or inner": lambda: objectives.match("3", _random(4, 7), "l3"),
    "no layer named '4'": lambda: objectives.channel("4", UNITS),
}


@pytest.mark.parametrize("message", REFUSED)
def test_invalid_targets_are_refused_in_one_line(net, images, message):
    with pytest.raises(LabError, match=message) as caught:
        _score(REFUSED[message](), net, images)
    assert "\n" not in str(caught.value)


def test_a_per_image_objective_scores_each_image_with_its_own_objective():
    model, layers = models.load(layered_net(), input_size=24), ["conv", "pool", "full"]
    codes = features.extract(model, torch.rand(2, 3, 24, 24), layers)
    parts = [objectives.match(layer, codes[layer]) for layer in layers]
    parts[0] = parts[0] + 0.3 * objectives.total_variation()
    together = objectives.per_image([(part, 2) for part in parts])
    images, index = torch.rand(6, 3, 24, 24), torch.arange(6)
    scores = ascents.score(together, model, images, index)
    subset = ascents.score(together, model, images[[1, 4, 5]], index[[1, 4, 5]])
    for number, part in enumerate(parts):
        own = images[2 * number : 2 * number + 2]
        alone = ascents.score(part, model, own, torch.arange(2))
        assert torch.allclose(scores[2 * number : 2 * number + 2], alone, rtol=1e-5)
    assert torch.allclose(subset, scores[[1, 4, 5]], rtol=1e-5)


def test_match_with_a_mask_ignores_the_other_channels():
    model, images = models.load(layered_net(), input_size=24), torch.rand(2, 3, 24, 24)
    codes = features.extract(model, images, ["pool"])
    mask = torch.tensor([1.0] * 4 + [0.0] * 4).view(8, 1, 1)
    whole, part = objectives.match("pool", codes["pool"], mask=mask), codes["pool"].clone()
    part[:, 4:] = 99.0
    score = ascents.score(whole, model, images, torch.arange(2))
    assert score.abs().max() < 1e-9
    other = objectives.match("pool", part, mask=mask)
    assert ascents.score(other, model, images, torch.arange(2)).abs().max() < 1e-9
