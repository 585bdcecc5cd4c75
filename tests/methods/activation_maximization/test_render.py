"""Activation maximization: known optima are found, units see their canvas, input is checked."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import activation_maximization


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


@pytest.fixture(scope="module")
def lively(mini) -> int:
    """The CL2 unit with the largest kernel: every picture moves it."""
    return int(mini.net.conv2.weight.flatten(1).norm(dim=1).argmax())


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    """Held-out pictures, eight of each class."""
    return SceneSet(HELD_OUT_SEED, 128).batch(range(128))


@pytest.mark.parametrize("layer", ["CL1", "CL2", "CL3"])
def test_a_unit_sees_its_canvas_and_nothing_beyond(mini, layer):
    canvas = activation_maximization.canvas_of(mini, layer)
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


def test_a_small_canvas_gives_the_unit_the_activation_of_the_whole_network(mini):
    """The patch of a small canvas, put into a full picture, excites the unit there as much."""
    drawn = activation_maximization.render(mini, ["CL2:65"], recipe="none", steps=3)
    y0, x0, y1, x1 = drawn.canvas.field
    whole = torch.full((1, 3, 128, 128), 0.5)
    stride = 8
    place = 6
    top, left = place * stride + y0 - drawn.canvas.position[0] * stride, place * stride
    left += x0 - drawn.canvas.position[1] * stride
    whole[0, :, top : top + y1 - y0, left : left + x1 - x0] = drawn.patches[0]
    output = hooks.activations(mini, whole, ["CL2"])["CL2"]
    assert output[0, 65, place, place].item() == pytest.approx(
        drawn.activations[0].item(), rel=1e-4
    )


def test_units_drawn_together_are_those_drawn_alone(mini):
    together = activation_maximization.render(mini, ["CL2:3", "CL2:65", "CL2:10"], steps=4)
    alone = activation_maximization.render(mini, ["CL2:65"], steps=4)
    assert torch.allclose(together.images[1], alone.images[0], atol=1e-5)
    tight = activation_maximization.render(
        mini, ["CL2:3", "CL2:65", "CL2:10"], steps=4, memory_limit=1
    )
    assert torch.allclose(together.images, tight.images, atol=1e-5)


def test_a_one_hot_direction_is_its_unit(mini):
    unit = activation_maximization.render(mini, ["CL2:65"], steps=5)
    vector = torch.zeros(1, 80)
    vector[0, 65] = 1
    direction = activation_maximization.render_directions(mini, "CL2", vector, steps=5)
    assert torch.allclose(unit.images, direction.images, atol=1e-6)
    assert unit.activations.tolist() == pytest.approx(direction.activations.tolist())


@pytest.fixture(scope="module")
def loud(mini) -> models.Model:
    """The same network with CaffeNet's kind of gradients, many times as large."""
    mean, std = mini.card.normalization
    louder = Normalization(mean, tuple(value / 60 for value in std))
    return models.Model(mini.net, replace(mini.card, normalization=louder), mini.survey_layers)


def _standing_still(recipe: activation_maximization.Recipe) -> activation_maximization.Recipe:
    """The recipe without its steps: what its operators alone make of the start."""
    phases = (replace(p, optimizer=lambda x, *_: torch.zeros_like(x)) for p in recipe.phases)
    return replace(recipe, phases=tuple(phases))


@pytest.mark.parametrize("name", sorted(activation_maximization.RECIPES))
def test_every_recipe_excites_the_unit_and_stays_in_range(mini, loud, lively, real, name):
    model = loud if name in ("yosinski1", "yosinski2", "yosinski3", "yosinski4") else mini
    recipe, target = activation_maximization.RECIPES[name], [f"CL2:{lively}"]
    largest = hooks.activations(mini, real, ["CL2"])["CL2"][:, lively].max()
    knobs = {"steps": 40, "largest": largest[None] if recipe.weight else None}
    drawn = activation_maximization.render(model, target, recipe=recipe, **knobs)
    still = activation_maximization.render(model, target, recipe=_standing_still(recipe), **knobs)
    assert drawn.activations[0] > still.activations[0] + 0.5
    if recipe.bounded:
        assert drawn.images.min() >= 0 and drawn.images.max() <= 1


def test_class_pictures_of_the_default_recipe_beat_every_real_picture(mini, real):
    drawn = activation_maximization.render(mini, ["logits:1"], steps=32)
    assert drawn.activations[0] > 1.2 * mini(real)[:, 1].max()
    assert mini(drawn.images).argmax(1).item() == 1


def test_a_recipe_that_weighs_by_the_largest_activation_asks_for_it(mini):
    with pytest.raises(InputError, match="give largest="):
        activation_maximization.render(mini, ["CL2:1"], recipe="mahendran2016", steps=1)


def test_stopping_keeps_what_there_is(mini):
    asked = []
    drawn = activation_maximization.render(
        mini, ["CL2:65"], steps=50, should_stop=lambda: len(asked) > 3 or asked.append(1)
    )
    assert drawn.interrupted and torch.isfinite(drawn.images).all()
    assert torch.isnan(drawn.history[-1]).all() and not torch.isnan(drawn.history[0]).any()


@pytest.mark.parametrize(
    ("targets", "error", "says"),
    [
        (["CL2:80"], InputError, "80 units"),
        (["CL2:1", "CL3:1"], InputError, "one layer"),
        (["CL2"], InputError, "layer:unit"),
        (["CL9:1"], NameNotFound, "CL"),
        ([], InputError, "none"),
    ],
)
def test_bad_targets_are_refused_in_one_line(mini, targets, error, says):
    with pytest.raises(error, match=says) as caught:
        activation_maximization.render(mini, targets, steps=1)
    assert "\n" not in str(caught.value)


def test_bad_knobs_are_refused_in_one_line(mini):
    with pytest.raises(NameNotFound, match="did you mean lucid"):
        activation_maximization.render(mini, ["CL2:1"], recipe="lucit")
    with pytest.raises(InputError, match="at least 1"):
        activation_maximization.render(mini, ["CL2:1"], steps=0)
    with pytest.raises(InputError, match="2 seeds for 1"):
        activation_maximization.render(mini, ["CL2:1"], seeds=[1, 2])


def test_a_unit_that_is_silent_at_the_start_is_woken(lively):
    """After its ReLU a unit with a large negative bias gives no gradient on noise about gray."""
    silent = models.load("alexnet_mini")
    silent.net.conv2.bias[lively] -= 6
    drawn = activation_maximization.render(silent, [f"CL2.relu:{lively}"], steps=64)
    assert drawn.history[0, 0] == 0 and drawn.activations[0] > 1


class _Deaf(nn.Module):
    """Scores that do not depend on the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.ones(len(x), 1))


def test_a_layer_without_gradient_is_refused_in_one_line():
    deaf = models.load(_Deaf(), input_size=16)
    with pytest.raises(InputError, match="no gradient"):
        activation_maximization.render(deaf, ["last:0"], steps=1)


def test_facets_pushed_apart_are_less_alike(mini):
    def alike(diversity: float) -> float:
        drawn = activation_maximization.render(
            mini, ["CL4:18"] * 3, steps=24, seeds=[1, 2, 3], diversity=diversity
        )
        acts = hooks.activations(mini, drawn.images, ["CL4"])["CL4"].flatten(2)
        grams = nn.functional.normalize((acts @ acts.mT).flatten(1), dim=1)
        return float((grams @ grams.T).sum() - 3)

    assert alike(300.0) < alike(0.0)
