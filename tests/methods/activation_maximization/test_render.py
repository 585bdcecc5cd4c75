"""Images maximize their units alone and together, by every recipe; input is checked."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks, image_metrics
from cnnvis_lab.core.optimization import Options
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import activation_maximization


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


@pytest.fixture(scope="module")
def active(mini, real) -> int:
    """The CL2 unit with the highest activation on real images."""
    return int(hooks.activations(mini, real, ["CL2"])["CL2"].amax((0, 2, 3)).argmax())


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    """Held-out images, eight of each class."""
    return SceneSet(HELD_OUT_SEED, 128).batch(range(128))


def test_a_small_canvas_gives_the_unit_the_activation_of_the_whole_network(mini):
    """The patch of a small canvas gives the same activation inside a full image."""
    rendering = activation_maximization.render(mini, ["CL2:65"], recipe="none", steps=3)
    y0, x0, y1, x1 = rendering.canvas.field
    full = torch.full((1, 3, 128, 128), 0.5)
    stride, position = 8, 6
    row, column = rendering.canvas.position
    top, left = (position - row) * stride + y0, (position - column) * stride + x0
    full[0, :, top : top + y1 - y0, left : left + x1 - x0] = rendering.patches[0]
    maps = hooks.activations(mini, full, ["CL2"])["CL2"]
    activation = rendering.activations[0].item()
    assert maps[0, 65, position, position].item() == pytest.approx(activation, rel=1e-4)


def test_rendering_units_together_equals_rendering_each_alone(mini):
    targets = ["CL2:3", "CL2:65", "CL2:10"]
    together = activation_maximization.render(mini, targets, steps=4)
    alone = activation_maximization.render(mini, ["CL2:65"], steps=4)
    assert torch.allclose(together.images[1], alone.images[0], atol=1e-5)
    tight = Options(memory_limit=1)
    one_by_one = activation_maximization.render(mini, targets, steps=4, options=tight)
    assert torch.allclose(together.images, one_by_one.images, atol=1e-5)


def test_a_one_hot_direction_equals_its_unit(mini):
    unit = activation_maximization.render(mini, ["CL2:65"], steps=5)
    vector = torch.zeros(1, 80)
    vector[0, 65] = 1
    direction = activation_maximization.render_directions(mini, "CL2", vector, steps=5)
    assert torch.allclose(unit.images, direction.images, atol=1e-6)
    assert unit.activations.tolist() == pytest.approx(direction.activations.tolist())


@pytest.fixture(scope="module")
def steep(mini) -> models.Model:
    """The same network with gradients as large as CaffeNet's."""
    mean, std = mini.card.normalization
    smaller = Normalization(mean, tuple(value / 60 for value in std))
    return models.Model(mini.net, replace(mini.card, normalization=smaller), mini.survey_layers)


def _without_steps(recipe: activation_maximization.Recipe) -> activation_maximization.Recipe:
    """The recipe whose operators alone change the start."""
    phases = (replace(p, optimizer=lambda x, *_: torch.zeros_like(x)) for p in recipe.phases)
    return replace(recipe, phases=tuple(phases))


@pytest.mark.parametrize("name", [*sorted(activation_maximization.RECIPES), "mahendran2016"])
def test_every_recipe_activates_the_unit_and_stays_in_range(mini, steep, active, real, name):
    model = steep if name in ("yosinski1", "yosinski2", "yosinski3", "yosinski4") else mini
    largest = hooks.activations(mini, real, ["CL2"])["CL2"][:, active].max()
    recipes = activation_maximization.RECIPES | {
        "mahendran2016": activation_maximization.mahendran2016(largest[None])
    }
    recipe, target = recipes[name], [f"CL2:{active}"]
    rendering = activation_maximization.render(model, target, recipe=recipe, steps=40)
    start = activation_maximization.render(model, target, recipe=_without_steps(recipe), steps=40)
    assert rendering.activations[0] > start.activations[0] + 0.5
    if recipe.bounded:
        assert rendering.images.min() >= 0 and rendering.images.max() <= 1


def test_class_images_of_the_default_recipe_exceed_every_real_image(mini, real):
    rendering = activation_maximization.render(mini, ["logits:1"], steps=32)
    assert rendering.activations[0] > mini(real)[:, 1].max()
    assert mini(rendering.images).argmax(1).item() == 1


def test_the_ascent_starts_at_given_images(mini, real):
    start = activation_maximization.render(
        mini, ["logits:1"], recipe=_without_steps(activation_maximization.RECIPES["none"]),
        starts=real[:1], steps=1,
    )  # fmt: skip
    torch.testing.assert_close(start.images, real[:1])


def test_stopping_returns_the_images_so_far(mini):
    calls = []
    options = Options(should_stop=lambda: len(calls) > 3 or bool(calls.append(1)))
    rendering = activation_maximization.render(mini, ["CL2:65"], steps=50, options=options)
    assert rendering.interrupted and torch.isfinite(rendering.images).all()
    history = rendering.history
    assert torch.isnan(history[-1]).all() and not torch.isnan(history[0]).any()


@pytest.mark.parametrize(
    ("targets", "error", "says"),
    [
        (["CL2:80"], InputError, "80 units"),
        (["CL2:1", "CL3:1"], InputError, "a single layer"),
        (["CL2"], InputError, "layer:unit"),
        (["CL9:1"], NameNotFound, "CL"),
        ([], InputError, "none"),
    ],
)
def test_bad_targets_are_refused_in_one_line(mini, targets, error, says):
    with pytest.raises(error, match=says) as caught:
        activation_maximization.render(mini, targets, steps=1)
    assert "\n" not in str(caught.value)


def test_bad_options_are_refused_in_one_line(mini):
    with pytest.raises(NameNotFound, match="did you mean lucid"):
        activation_maximization.render(mini, ["CL2:1"], recipe="lucit")
    with pytest.raises(InputError, match="at least 1"):
        activation_maximization.render(mini, ["CL2:1"], steps=0)
    with pytest.raises(InputError, match="expected field, input, channel"):
        activation_maximization.render(mini, ["CL2:1"], scope="layer")
    with pytest.raises(InputError, match="2 seeds for 1"):
        activation_maximization.render(mini, ["CL2:1"], options=Options(seeds=[1, 2]))


def test_a_unit_that_is_inactive_at_the_start_is_activated(active, mini, real):
    """After its ReLU a unit with a large negative bias has no gradient on noise about gray."""
    network = models.load("alexnet_mini")
    largest = hooks.activations(mini, real, ["CL2"])["CL2"][:, active].max()
    network.net.conv2.bias[active] -= largest / 2
    rendering = activation_maximization.render(network, [f"CL2.relu:{active}"], steps=64)
    assert rendering.history[0, 0] == 0 and rendering.activations[0] > 1


class _Constant(nn.Module):
    """Scores that do not depend on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.ones(len(x), 1))


def test_a_layer_without_gradient_is_refused_in_one_line():
    network = models.load(_Constant(), input_size=16)
    with pytest.raises(InputError, match="no gradient"):
        activation_maximization.render(network, ["last:0"], steps=1)


def test_a_diversity_term_makes_facets_less_similar(mini):
    def similarity(diversity: float) -> float:
        rendering = activation_maximization.render(
            mini, ["CL4:18"] * 3, steps=24, diversity=diversity, options=Options(seeds=[1, 2, 3])
        )
        maps = hooks.activations(mini, rendering.images, ["CL4"])["CL4"].flatten(2)
        grams = nn.functional.normalize((maps @ maps.mT).flatten(1), dim=1)
        return float((grams @ grams.T).sum() - 3)

    assert similarity(300.0) < similarity(0.0)


def test_layers_and_recipes_are_rendered_like_single_calls(mini):
    by_layer = activation_maximization.render_layers(mini, {"CL2": [3, 5], "FL1": [7]}, steps=1)
    assert by_layer["CL2"].targets == ("CL2:3", "CL2:5")
    alone = activation_maximization.render(mini, ["FL1:7"], steps=1)
    assert torch.equal(by_layer["FL1"].images, alone.images)
    complexity = image_metrics.complexity(alone.patches)
    assert by_layer["FL1"].complexity() == pytest.approx(float(complexity))
    by_recipe = activation_maximization.render_recipes(mini, ["FL1:7"], ["none"], steps=1)
    plain = activation_maximization.render(mini, ["FL1:7"], recipe="none", steps=1)
    assert torch.equal(by_recipe["none"].images, plain.images)
