"""The stages of the way to a unit and back are what each layer does by itself, up and down."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.methods import deconvnet
from cnnvis_lab.methods.deconvnet import project

pytestmark = pytest.mark.usefixtures("one_thread")


class Block(nn.Module):
    """Two branches, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.relu = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.relu(self.left(x[..., 1:-1, 1:-1])), self.relu(self.right(x))], 1)


@pytest.fixture(scope="module")
def network() -> models.Model:
    torch.manual_seed(0)
    features = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), Block(),
    )  # fmt: skip
    classes = nn.Linear(8 * 16, 4)
    nn.init.ones_(classes.bias)  # every class fires
    net = nn.Sequential(features, nn.Flatten(), classes)
    return models.load(net, input_size=32).double()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)).double()


def _transposed(module: nn.Module, before: Tensor, signal: Tensor) -> Tensor:
    """What autograd sends back through one layer."""
    seen = before.clone().requires_grad_()
    return torch.autograd.grad(module(seen[None]), seen, signal[None])[0]


def test_each_stage_does_up_and_down_what_its_layer_does_alone(network, image):
    way = deconvnet.trace_projection(network, image, "0.4:5")
    assert [stage.layer for stage in way.stages] == ["0.0", "0.1", "0.2", "0.3", "0.4"]
    for stage, above in zip(way.stages, way.stages[1:], strict=False):
        assert torch.equal(stage.after, above.before)
        assert torch.equal(stage.arriving, above.leaving)
    for stage in way.stages:
        assert torch.allclose(stage.module(stage.before[None])[0], stage.after)
        if isinstance(stage.module, nn.ReLU):
            expected = stage.arriving.clamp(min=0)
        else:
            expected = _transposed(stage.module, stage.before, stage.arriving)
        assert torch.allclose(stage.leaving, expected, atol=1e-12), stage.layer
    top, strongest = way.stages[-1].arriving, way.stages[-1].after[5].max()
    assert (top != 0).sum() == 1 and top[5].max() == strongest > 0


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "deconvnet_centred"])
def test_what_arrives_is_the_units_projection(network, image, rule):
    for target in ("0.3:2", "0.5:1", "2:3"):
        way = deconvnet.trace_projection(network, image, target, rule)
        shown = project(network, image[None], target, rule=rule)
        assert torch.allclose(way.projection, shown.pictures[0, 0], atol=1e-12)
        assert torch.allclose(way.stages[0].leaving / network.std, way.projection, atol=1e-12)
        assert torch.equal(way.forward[0], image) and way.backward[0] is way.projection
        assert len(way.forward) == len(way.backward) == len(way.stages) + 1
        assert way.projection.any()


def test_the_map_shown_stays_the_same_between_convolutions_and_is_the_units_own_on_top(
    network, image
):
    way = deconvnet.trace_projection(network, image, "0.4:5")
    conv1, relu1, pool, conv2, relu2 = way.stages
    assert relu2.channel == conv2.channel == 5
    energy = torch.stack([part.clamp(min=0).square().sum() for part in pool.arriving])
    assert conv1.channel == relu1.channel == pool.channel == int(energy.argmax())
    assert torch.equal(way.forward[3], pool.after[pool.channel])
    assert torch.equal(way.backward[3], pool.arriving[pool.channel])


def test_a_transposed_step_has_no_error_and_a_bent_one_has(network, image):
    way = deconvnet.trace_projection(network, image, "2:1")
    errors = deconvnet.adjoint_errors(way)
    assert list(errors) == ["0.0", "0.2", "0.3", "2"]
    assert max(errors.values()) < 1e-14
    bent = replace(way, stages=tuple(replace(s, leaving=s.leaving * 1.2) for s in way.stages))
    assert min(deconvnet.adjoint_errors(bent).values()) > 1e-4


def test_pooling_to_the_middle_of_windows_is_not_the_transpose(network, image):
    way = deconvnet.trace_projection(network, image, "0.3:2", "deconvnet_centred")
    errors = deconvnet.adjoint_errors(way)
    assert errors["0.2"] > 1e-3 and errors["0.3"] < 1e-14


def test_the_drawing_gets_a_word_for_each_place_and_step(network, image):
    words = deconvnet.trace_projection(network, image, "2:3").words
    assert words["steps"][:4] == [
        "filter\n5x5, stride 2", "rectify", "max-pool\n3x3, stride 2", "filter\n3x3, stride 1",
    ]  # fmt: skip
    assert words["back_steps"][:3] == ["filter,\ntransposed", "rectify", "unpool"]
    assert words["steps"][5] == "Block" and words["switches"] == [2]
    assert words["names"][0] == "picture" and words["names"][1] == "0.0\n6 maps of\n14x14"
    assert words["names"][-1] == "2\n4 units"


def test_a_layer_inside_a_block_is_refused_in_one_line(network, image):
    with pytest.raises(InputError, match="part of a block") as refusal:
        deconvnet.trace_projection(network, image, "0.5.left:1")
    assert "\n" not in str(refusal.value)
