"""Which module reads which: blocks, sequences, and what one recorded pass shows."""

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.models import graph


class Block(nn.Module):
    """A convolution with a shortcut around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(x)) + x


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return nn.Sequential(OrderedDict(stem=stem, block=Block(), head=head)).eval()


def test_blocks_are_the_modules_that_are_not_containers(net):
    stem = ["stem.0", "stem.1", "stem.2"]
    assert graph.blocks(net) == [*stem, "block", "head.0", "head.1", "head.2"]
    assert graph.blocks_up_to(net, "block") == [*stem, "block"]
    assert graph.conv_blocks(net) == ["stem.0", "block"]
    with pytest.raises(InputError, match=r"'block\.conv' is a part of a block"):
        graph.blocks_up_to(net, "block.conv")


def test_the_class_layer_is_the_last_one_with_an_output_per_class(net):
    assert graph.class_layer(net, 5) == "head.2"
    assert graph.class_layer(net, 4) == "block.conv"
    assert graph.class_layer(net, 7) == ""


def test_only_modules_in_sequential_containers_end_a_sequence(net):
    for layer in ("", "stem", "stem.2", "block", "head.1"):
        assert graph.is_sequential_from(net, layer)
    assert not graph.is_sequential_from(net, "block.conv")
    model = models.load(net, input_size=8)
    assert model.is_sequential_from("block") and model.is_sequential_from("logits")
    assert not model.is_sequential_from("block.relu")


@pytest.mark.parametrize(
    ("name", "layer", "sequential"),
    [
        ("alexnet", "features.3", True),
        ("resnet18", "layer1.0", True),
        ("resnet18", "layer1.0.conv1", False),
        ("googlenet", "inception3a", True),
        ("googlenet", "inception3a.branch1", False),
        ("vit_b_16", "conv_proj", False),
    ],
)
def test_stages_of_torchvisions_networks_are_recognized_as_sequential(name, layer, sequential):
    with torch.device("meta"):
        net = torchvision.models.get_model(name, weights=None, **_options(name))
    assert graph.is_sequential_from(net, layer) == sequential


def _options(name: str) -> dict[str, bool]:
    return {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}


def test_a_trace_shows_the_relu_behind_a_layer_and_the_layer_of_the_scores(net):
    trace = graph.trace_calls(net, torch.rand(1, 3, 8, 8))
    assert [call.name for call in trace.calls][:4] == ["stem.0", "stem.1", "stem.2", "stem"]
    assert trace.relu_after("stem.0") == trace.relu_after("stem.1") == "stem.2"
    assert trace.relu_after("block.conv") == "block.relu"
    assert trace.relu_after("block") == "block" and trace.relu_after("head.2") == "head.2"
    assert trace.score_layer() == "head.2"


def test_a_relu_that_runs_twice_is_not_behind_a_layer():
    relu = nn.ReLU()
    layers = [nn.Conv2d(3, 3, 1), relu, nn.Conv2d(3, 3, 1), relu]
    trace = graph.trace_calls(nn.Sequential(*layers), torch.rand(1, 3, 4, 4))
    assert trace.relu_after("0") == "0"


def test_the_layers_of_a_sequence_are_listed_and_a_shortcut_is_refused(net):
    straight = nn.Sequential(net.stem, net.head)
    trace = graph.trace_calls(straight, torch.rand(1, 3, 8, 8))
    assert trace.sequential_layers() == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    with pytest.raises(InputError, match=r"not sequential: head\.0 reads more"):
        graph.trace_calls(net, torch.rand(1, 3, 8, 8)).sequential_layers()


def test_a_trace_leaves_no_hooks(net):
    graph.trace_calls(net, torch.rand(1, 3, 8, 8))
    assert not any(module._forward_hooks for module in net.modules())
