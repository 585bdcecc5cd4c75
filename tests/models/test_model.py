"""A loaded network knows its shapes, its device and its normalization."""

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound, hooks


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


def test_layer_shapes_are_those_of_one_image(mini):
    layers = ["CL1", "pool2", "FL1.relu", "logits"]
    acts = hooks.activations(mini, torch.rand(2, 3, 128, 128), layers)
    assert mini.layer_shapes(layers) == {layer: tuple(acts[layer].shape[1:]) for layer in layers}
    assert mini.layer_shapes(["CL1"], size=64) == {"CL1": (48, 15, 15)}
    with pytest.raises(NameNotFound, match="CL9"):
        mini.layer_shapes(["CL9"])


def test_images_are_normalized_by_the_values_on_the_card(mini):
    images = torch.rand(2, 3, 128, 128)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in mini.card.normalization)
    assert torch.equal(mini.normalize(images), (images - mean) / std)
    assert torch.equal(mini(images), mini.net(mini.normalize(images)))
    assert mini.device == images.device


def test_a_trace_names_the_layers_without_the_wrapper(mini):
    trace = mini.trace_calls()
    layers = trace.sequential_layers()
    assert layers == [name for name, _ in mini.net.named_children()]
    assert trace.relu_after("conv3") == "relu3" and trace.score_layer() == "fc8"
