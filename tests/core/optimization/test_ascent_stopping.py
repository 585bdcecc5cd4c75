"""An interrupted ascent keeps its finished steps; no ascent leaves a hook or a gradient."""

from collections.abc import Callable

import pytest
import torch
from support import ascents
from torch import Tensor, nn

from cnnvis_lab.core import InputError, LabError
from cnnvis_lab.core.optimization import GIBIBYTE, objectives, transforms
from cnnvis_lab.core.optimization.objectives import Objective

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def net() -> nn.Module:
    return ascents.small_net()


def _hook_count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())


def _interrupting_progress(at: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    return progress


def _stopping_callback(at: int) -> Callable[[], bool]:
    """Return True once, and False again afterwards, like a button that springs back."""
    calls_so_far = iter(range(1000))
    return lambda: next(calls_so_far) == at


STOPS = {
    "KeyboardInterrupt": lambda at: {"on_progress": _interrupting_progress(at)},
    "should_stop": lambda at: {"should_stop": _stopping_callback(at)},
}


@pytest.mark.parametrize("stop", STOPS)
def test_an_interruption_keeps_the_images_and_scores_so_far(net, stop):
    score = objectives.channel("4", ascents.UNITS)
    result = ascents.moving_ascent(net, score, ascents.pixels(), **STOPS[stop](5))
    five = ascents.moving_ascent(net, score, ascents.pixels(), steps=5)
    assert result.interrupted and not five.interrupted
    assert torch.equal(result.images, five.images)
    assert result.history.shape == (12, 5) and torch.equal(result.history[:5], five.history)
    assert result.history[5:].isnan().all()


@pytest.mark.parametrize("stop", STOPS)
def test_an_interruption_also_ends_the_following_chunks(net, stop):
    score, space = objectives.channel("4", ascents.UNITS), ascents.pixels()
    result = ascents.moving_ascent(
        net, score, space, memory_limit=1, snapshots=[0], **STOPS[stop](12 + 5)
    )
    whole = ascents.moving_ascent(net, score, space)
    assert result.interrupted and result.images.shape == whole.images.shape
    assert torch.allclose(result.images[0], whole.images[0], rtol=0, atol=1e-9)
    assert torch.equal(result.images[2:], space.images()[2:])
    finite = result.history.isfinite()
    assert finite.sum(0).tolist() == [12, 5, 0, 0, 0] and finite[:5, 1].all()
    assert result.snapshots == {}


def test_stopping_before_the_first_step_returns_the_initial_images(net):
    space = ascents.pixels()
    result = ascents.moving_ascent(
        net, objectives.channel("4", ascents.UNITS), space, should_stop=lambda: True
    )
    assert torch.equal(result.images, space.images()) and result.history.isnan().all()


def test_an_interrupt_inside_the_network_keeps_the_result_and_leaves_no_hook(net):
    calls = iter(range(1000))

    def interrupt(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if next(calls) == 8:
            raise KeyboardInterrupt

    handle = net[0].register_forward_hook(interrupt)
    before = _hook_count(net)
    result = ascents.ascent(net, objectives.channel("4", ascents.UNITS), ascents.pixels(), steps=30)
    assert result.interrupted and 0 < result.history.isfinite().all(1).sum() < 9
    assert _hook_count(net) == before
    handle.remove()


def test_weights_get_no_gradient_and_no_hook_remains(net):
    weights = [parameter.detach().clone() for parameter in net.parameters()]
    runs: list[dict] = [
        {},
        {"memory_limit": 1},
        {"relu_rule": "guided"},
        {"transform": ascents.MOVES},
    ]
    for options in runs:
        ascents.ascent(
            net, objectives.channel("4", ascents.UNITS), ascents.pixels(), steps=2, **options
        )
    for parameter, weight in zip(net.parameters(), weights, strict=True):
        assert parameter.requires_grad and parameter.grad is None
        assert torch.equal(parameter, weight)
    assert _hook_count(net) == 0


def _not_a_number(step: int) -> Objective:
    scored = iter(range(1000))

    def score(acts: object, images: Tensor, index: Tensor) -> Tensor:
        bad = torch.where(index == 3, torch.nan, 1.0) if next(scored) == step else 1.0
        return images.flatten(1).mean(1) * bad

    return Objective((), score)


CONSTANT = Objective((), lambda acts, images, index: torch.zeros(len(images)))
INVALID = {
    "0 steps: expected at least 1": lambda: {"steps": 0},
    "-3 steps": lambda: {"steps": -3},
    "score of image 3 on the image became nan at step 0": lambda: {"objective": _not_a_number(0)},
    "became nan at step 2": lambda: {"objective": _not_a_number(2)},
    "image 0 on the image became -inf": lambda: {"objective": -objectives.l2() / 1e-320 / 1e-320},
    "the score of the image has no gradient": lambda: {"objective": CONSTANT},
    "unit 5 of 4: it has 5 units": lambda: {"objective": objectives.channel("4", [0, 1, 2, 3, 5])},
    "no layer named 'conv1'": lambda: {"objective": objectives.channel("conv1", ascents.UNITS)},
    "no ReLU rule named 'gided'; did you mean guided": lambda: {"relu_rule": "gided"},
    "jitter of 12 pixels": lambda: {"transform": transforms.jitter(12)},
    "no image to optimize": lambda: {"space": ascents.pixels().select(slice(0, 0))},
}


@pytest.mark.parametrize("message", INVALID)
def test_invalid_arguments_are_refused_in_one_line_and_leave_no_hook(net, message):
    units = objectives.channel("4", ascents.UNITS)
    arguments = {"objective": units, "space": ascents.pixels(), "steps": 4} | INVALID[message]()
    with pytest.raises(LabError, match=message) as caught:
        ascents.ascent(net, arguments.pop("objective"), arguments.pop("space"), **arguments)
    assert "\n" not in str(caught.value) and _hook_count(net) == 0


@pytest.mark.parametrize("memory", [1, GIBIBYTE])
def test_a_layer_without_any_gradient_is_refused(net, memory):
    nn.init.zeros_(net[0].weight)
    with pytest.raises(
        InputError, match="the score of 3 has no gradient with respect to the image"
    ):
        ascents.ascent(
            net,
            objectives.channel("3", ascents.UNITS),
            ascents.pixels(),
            steps=3,
            memory_limit=memory,
        )
    assert _hook_count(net) == 0
