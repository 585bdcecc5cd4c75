"""Each stage of a trace equals its layer alone, in the forward and the backward pass."""

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
    """Two branches, concatenated."""

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
    nn.init.ones_(classes.bias)  # every class is active
    net = nn.Sequential(features, nn.Flatten(), classes)
    return models.load(net, input_size=32).double()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)).double()


def _transposed(module: nn.Module, x: Tensor, signal: Tensor) -> Tensor:
    """Return the gradient of one layer, by autograd."""
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(module(leaf[None]), leaf, signal[None])[0]


def test_each_stage_equals_its_layer_alone_in_both_passes(network, image):
    trace = deconvnet.trace_projection(network, image, "0.4:5")
    assert [stage.layer for stage in trace.stages] == ["0.0", "0.1", "0.2", "0.3", "0.4"]
    for stage, above in zip(trace.stages, trace.stages[1:], strict=False):
        assert torch.equal(stage.output, above.input)
        assert torch.equal(stage.signal, above.signal_below)
    for stage in trace.stages:
        assert torch.allclose(stage.module(stage.input[None])[0], stage.output)
        if isinstance(stage.module, nn.ReLU):
            expected = stage.signal.clamp(min=0)
        else:
            expected = _transposed(stage.module, stage.input, stage.signal)
        assert torch.allclose(stage.signal_below, expected, atol=1e-12), stage.layer
    top, highest = trace.stages[-1].signal, trace.stages[-1].output[5].max()
    assert (top != 0).sum() == 1 and top[5].max() == highest > 0


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "deconvnet_centred"])
def test_the_trace_ends_in_the_units_projection(network, image, rule):
    for target in ("0.3:2", "0.5:1", "2:3"):
        trace = deconvnet.trace_projection(network, image, target, rule)
        projections = project(network, image[None], target, rule=rule)
        assert torch.allclose(trace.projection, projections.pixels[0, 0], atol=1e-12)
        assert torch.allclose(
            trace.stages[0].signal_below / network.std, trace.projection, atol=1e-12
        )
        assert torch.equal(trace.image, image)
        assert trace.projection.any()


def test_the_channel_shown_is_that_of_the_unit_or_of_most_energy(network, image):
    trace = deconvnet.trace_projection(network, image, "0.4:5")
    conv1, relu1, pool, conv2, relu2 = trace.stages
    assert relu2.channel == conv2.channel == 5
    energy = torch.stack([part.clamp(min=0).square().sum() for part in pool.signal])
    assert conv1.channel == relu1.channel == pool.channel == int(energy.argmax())


def test_a_transposed_step_has_no_error_and_a_wrong_one_has(network, image):
    trace = deconvnet.trace_projection(network, image, "2:1")
    errors = deconvnet.adjoint_errors(trace)
    assert list(errors) == ["0.0", "0.2", "0.3", "2"]
    assert max(errors.values()) < 1e-14
    wrong = replace(
        trace, stages=tuple(replace(s, signal_below=s.signal_below * 1.2) for s in trace.stages)
    )
    assert min(deconvnet.adjoint_errors(wrong).values()) > 1e-4


def test_unpooling_to_the_center_of_windows_is_not_the_transpose(network, image):
    trace = deconvnet.trace_projection(network, image, "0.3:2", "deconvnet_centred")
    errors = deconvnet.adjoint_errors(trace)
    assert errors["0.2"] > 1e-3 and errors["0.3"] < 1e-14


def test_a_layer_inside_a_block_is_refused_in_one_line(network, image):
    with pytest.raises(InputError, match="part of a block") as refusal:
        deconvnet.trace_projection(network, image, "0.5.left:1")
    assert "\n" not in str(refusal.value)
