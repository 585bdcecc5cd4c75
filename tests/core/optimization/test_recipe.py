"""A recipe runs its phases one after the other, each from the images of the one before."""

import pytest
import torch
from support import ascents
from torch import nn

from cnnvis_lab.core import InputError
from cnnvis_lab.core.optimization import (
    Monitor,
    Options,
    Phase,
    Recipe,
    ascend,
    objectives,
    optimizers,
)

pytestmark = pytest.mark.usefixtures("one_thread")
PHASES = (Phase(6, optimizers.sgd(3.0)), Phase(2, optimizers.adam(0.01)))


@pytest.fixture
def net() -> nn.Module:
    return ascents.small_net().float()


@pytest.mark.parametrize("space", ["pixels", "fourier"])
def test_a_recipe_runs_its_phases_in_order(net, space):
    recipe, score = Recipe(space, PHASES, "test"), objectives.channel("4", [0, 3])
    start = recipe.start([1, 2], 12)
    result = recipe.run(net, score, start, Options(snapshots=[0, 5]))
    first = ascend(net, score, start, PHASES[0])
    second = ascend(net, score, recipe.start_from(first.images), PHASES[1])
    assert torch.equal(result.images, second.images)
    assert torch.equal(result.history, torch.cat([first.history, second.history]))
    assert torch.equal(result.snapshots[0], start.images()) and list(result.snapshots) == [0, 5]


def test_a_stopped_recipe_runs_no_further_phase(net):
    recipe, done = Recipe("pixels", PHASES, "test"), []
    options = Options(
        on_progress=lambda step, of: done.append(step), should_stop=lambda: len(done) == 4
    )
    score = objectives.channel("4", [0])
    result = recipe.run(net, score, recipe.start([1], 12), options, Monitor(objectives.l2()))
    assert result.interrupted and done == [1, 2, 3, 4]
    assert result.history.shape == result.monitored.shape == (6, 1)


def test_steps_are_distributed_over_the_phases_in_proportion():
    recipe = Recipe("pixels", PHASES, "test")
    assert [phase.steps for phase in recipe.with_steps(80).phases] == [60, 20]
    assert [phase.steps for phase in recipe.with_steps(1).phases] == [1, 1]
    assert recipe.with_steps(None) is recipe
    with pytest.raises(InputError, match="0 steps"):
        recipe.with_steps(0)


def test_a_phase_may_depend_on_its_number_of_steps():
    def phase(steps: int) -> Phase:
        return Phase(steps, optimizers.adam(1 / steps), relu_rule_steps=steps // 2, for_steps=phase)

    (longer,) = Recipe("pixels", (phase(10),), "test").with_steps(30).phases
    assert (longer.steps, longer.relu_rule_steps) == (30, 15)


def test_enlarging_keeps_the_center_of_the_previous_images(net):
    still = optimizers.sgd(0.0)
    recipe = Recipe("pixels", (Phase(1, still), Phase(1, still, enlarge=2.0)), "test")
    start = recipe.start([1], 12)
    result = recipe.run(net, objectives.channel("4", [0]), start)
    large = nn.functional.interpolate(start.images(), scale_factor=2, mode="bilinear")
    assert torch.allclose(result.images, large[..., 6:18, 6:18], atol=1e-6)


def test_a_monitored_image_is_finished_where_the_monitor_falls_below_its_limit(net):
    recipe = Recipe("pixels", (Phase(8, optimizers.sgd(0.05)),), "test", bounded=False)
    start, target = recipe.start([1, 2], 12), -objectives.l2()
    values = objectives.score_images(objectives.l2(), net, start.images().detach())
    limits = torch.stack([values[0] * 2, values[1] * 0])  # the first image is finished at once
    result = recipe.run(net, target * 100, start, monitor=Monitor(objectives.l2(), limits))
    assert torch.equal(result.images[0], start.images()[0])
    assert result.history[1:, 0].isnan().all() and not result.history[:, 1].isnan().any()


def test_a_space_of_another_name_is_refused():
    with pytest.raises(InputError, match="expected pixels or fourier"):
        Recipe("codes", PHASES, "test").start([1], 12)
