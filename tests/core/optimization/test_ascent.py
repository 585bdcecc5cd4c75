"""An image depends neither on chunks nor on its batch, and is that of the requested step."""

import numpy as np
import pytest
import torch
from support import ascents
from torch import Tensor, nn

from cnnvis_lab.core import InputError
from cnnvis_lab.core.optimization import (
    GIBIBYTE,
    batch_that_fits,
    image_space,
    objectives,
    optimizers,
    transforms,
)
from cnnvis_lab.core.optimization.objectives import Objective

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def net() -> nn.Module:
    return ascents.small_net()


OBJECTIVES = {
    "channel": lambda units: objectives.channel("4", units),
    "neuron with variation": lambda units: (
        objectives.neuron("3", units) - 0.5 * objectives.total_variation(1.0)
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_result_does_not_depend_on_the_memory_limit(net, name):
    objective = OBJECTIVES[name](ascents.UNITS)
    chunks_seen, results = set(), []
    for memory in (1, 40_000, 80_000, GIBIBYTE):
        calls: list[tuple[int, int]] = []
        result = ascents.moving_ascent(
            net,
            objective,
            ascents.pixels(),
            memory_limit=memory,
            snapshots=[0, 5],
            on_progress=lambda done, of, calls=calls: calls.append((done, of)),
        )
        total = calls[-1][1]
        assert calls == [(done, total) for done in range(1, total + 1)]
        chunks_seen.add(total // 12)
        results.append(result)
    assert {1, 5} < chunks_seen
    for result in results[1:]:
        assert torch.allclose(result.images, results[0].images, rtol=0, atol=1e-9)
        assert torch.allclose(result.history, results[0].history, rtol=0, atol=1e-6)
        assert torch.allclose(result.snapshots[5], results[0].snapshots[5], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_image_does_not_depend_on_the_batch_it_is_optimized_in(net, name):
    make = OBJECTIVES[name]
    together = ascents.moving_ascent(net, make(ascents.UNITS), ascents.pixels())
    for i, (seed, unit) in enumerate(zip(ascents.SEEDS, ascents.UNITS, strict=True)):
        alone = ascents.moving_ascent(net, make([unit]), ascents.pixels([seed]))
        assert torch.allclose(together.images[i], alone.images[0], rtol=0, atol=1e-9)
        assert torch.allclose(together.history[:, i], alone.history[:, 0], rtol=0, atol=1e-6)


def test_what_an_optimizer_remembers_of_finished_chunks_takes_no_memory(net):
    adam, seen = optimizers.adam(), []

    def remembering(parameter, gradient, step, state):
        if not any(state is other for other in seen):
            assert not any(values.numel() for other in seen for values in other.values())
            seen.append(state)
        return adam(parameter, gradient, step, state)

    objective = OBJECTIVES["channel"](ascents.UNITS)
    ascents.moving_ascent(net, objective, ascents.pixels(), memory_limit=1, optimizer=remembering)
    assert len(seen) == len(ascents.UNITS)


def test_single_precision_in_fourier_space_agrees_between_chunk_sizes(net):
    net.float()
    runs = [
        ascents.ascent(
            net,
            objectives.channel("4", ascents.UNITS),
            image_space.fourier(ascents.SEEDS, 12),
            steps=10,
            transform=ascents.MOVES,
            optimizer=optimizers.sgd(1.0),
            memory_limit=memory,
        ).images
        for memory in (1, GIBIBYTE)
    ]
    assert torch.allclose(*runs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("group", [2, 3, 6])
@pytest.mark.parametrize("fitting", [1, 3, 5])
def test_images_of_a_group_stay_in_one_chunk_for_any_memory_limit(net, group, fitting):
    objective = objectives.channel("4", [0] * 6) + 5 * objectives.diversity("3", group)
    six, plenty = ascents.pixels(range(6)), 1024 * GIBIBYTE
    each = plenty / batch_that_fits(net, six.images()[:1], objective.layers, plenty)
    memory = int((fitting + 0.5) * each)
    calls: list[int] = []
    small = ascents.moving_ascent(
        net, objective, six, memory_limit=memory, on_progress=lambda done, of: calls.append(of)
    )
    largest = max(group, fitting // group * group)
    assert calls[0] == -(-6 // largest) * 12
    assert torch.allclose(
        small.images, ascents.moving_ascent(net, objective, six).images, atol=1e-9
    )


@pytest.mark.parametrize("units", [[0, 4, 2, 4, 1], [4, 0, 2, 1, 4]])
@pytest.mark.parametrize("memory", [1, GIBIBYTE])
def test_an_image_of_a_dead_unit_stays_unchanged_for_any_chunk_size(net, units, memory):
    nn.init.zeros_(net[3].weight[4:])
    score = objectives.channel("3", units)
    space = ascents.pixels()
    result = ascents.moving_ascent(net, score, space, steps=4, memory_limit=memory)
    for unit, image, start in zip(units, result.images, space.images(), strict=True):
        assert torch.equal(image, start) == (unit == 4)


def test_the_history_scores_the_images_before_each_step_and_the_result_is_after_the_last(net):
    score = objectives.channel("4", ascents.UNITS)
    overshooting = optimizers.sgd(lambda step: 30.0 if step < 4 else -60.0)
    options = {"steps": 9, "optimizer": overshooting, "snapshots": list(range(9))}
    last = ascents.ascent(net, score, ascents.pixels(low=None), **options)
    assert last.history.shape == (9, 5)
    for step, images in last.snapshots.items():
        rescored = ascents.score(score, net, images, torch.arange(5))
        assert torch.allclose(rescored.float(), last.history[step])
    longer = ascents.ascent(
        net,
        score,
        ascents.pixels(low=None),
        **options | {"steps": 10, "snapshots": [9]},
    )
    assert torch.equal(last.images, longer.snapshots[9])


def test_a_snapshot_is_the_image_before_its_step(net):
    score, space = objectives.channel("4", ascents.UNITS), ascents.pixels()
    result = ascents.ascent(net, score, space, steps=6, snapshots=[0, 4])
    assert list(result.snapshots) == [0, 4]
    assert torch.equal(result.snapshots[0], space.images())
    four = ascents.ascent(net, score, space, steps=4)
    assert torch.equal(result.snapshots[4], four.images)


def test_the_given_space_is_unchanged(net):
    space = ascents.pixels()
    before = space.images().detach().clone()
    ascents.ascent(net, objectives.channel("4", ascents.UNITS), space, steps=3)
    assert torch.equal(space.images(), before) and space.parameters[0].grad is None


def test_operators_and_bounds_act_after_every_step_in_that_order(net):
    seen: list[int] = []

    def brighter(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        seen.append(step)
        return images + 0.45

    score = objectives.channel("4", ascents.UNITS)
    start = image_space.noise(ascents.SEEDS, 12).double()
    still = optimizers.sgd(0.0)
    options = {"steps": 3, "optimizer": still, "operators": [transforms.decay(0.5), brighter]}
    result = ascents.ascent(net, score, image_space.pixels(start), **options)
    expected = start.numpy()
    for _ in range(3):
        expected = np.clip(0.5 + (expected - 0.5) * 0.5 + 0.45, 0, 1)
    assert np.abs(result.images.numpy() - expected).max() < 1e-12
    assert seen == [0, 1, 2]


def test_operators_are_given_the_gradient_of_the_step(net):
    objective = objectives.channel("4", [2]) - objectives.l2()
    start = image_space.noise([0], 12).double().requires_grad_()
    score = ascents.score(objective, net, start, torch.tensor([0]))
    (expected,) = torch.autograd.grad(score.sum(), start)
    gradients: list[Tensor] = []

    def record_gradient(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        gradients.append(gradient.clone())
        return images

    ascents.ascent(net, objective, image_space.pixels(start), steps=1, operators=[record_gradient])
    assert torch.equal(gradients[0], expected)


def test_transformations_are_drawn_from_the_seed(net):
    score = objectives.channel("4", ascents.UNITS)
    one, same, other = (
        ascents.moving_ascent(net, score, ascents.pixels(), seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(one.images, same.images)
    assert (one.images - other.images).abs().max() > 1e-3


def _inactive_score(net: nn.Module) -> Objective:
    """A score behind ReLUs that are inactive everywhere, also after any small step."""
    nn.init.constant_(net[0].bias, -1e4)
    nn.init.constant_(net[3].weight, 0.1)
    return objectives.channel("3", ascents.UNITS)


@pytest.mark.parametrize("options", [{}, {"relu_rule": "redirected", "relu_rule_steps": 0}])
def test_a_score_behind_inactive_relus_is_refused(net, options):
    with pytest.raises(InputError, match="no gradient"):
        ascents.ascent(net, _inactive_score(net), ascents.pixels(), steps=2, **options)


@pytest.mark.parametrize(("rule_steps", "moving"), [(1, 1), (3, 3), (None, 5)])
def test_a_relu_rule_applies_for_the_given_number_of_steps(net, rule_steps, moving):
    has_gradient: list[bool] = []

    def record(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        has_gradient.append(bool(gradient.any()))
        return images

    options = {"relu_rule": "redirected", "relu_rule_steps": rule_steps, "operators": [record]}
    ascents.ascent(net, _inactive_score(net), ascents.pixels(), steps=5, **options)
    assert has_gradient == [True] * moving + [False] * (5 - moving)
