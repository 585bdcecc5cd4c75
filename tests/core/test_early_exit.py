"""Early exit: each image leaves the forward pass at its own layer."""

import pytest
import torch
from support.small_chain import layered_net
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.core.early_exit import activations_at

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 24


class Skipping(nn.Module):
    """A network with a skip connection over its second convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        return (first + self.second(first)).mean((2, 3))


@pytest.mark.parametrize("module", [layered_net, Skipping])
def test_an_image_that_exits_early_has_the_activations_of_a_separate_pass(module):
    model = models.load(module(), input_size=SIZE)
    layers = ["conv", "full", "pool", "conv"] if module is layered_net else ["second", "first"] * 2
    images = torch.rand(4, 3, SIZE, SIZE, requires_grad=True)
    outputs = activations_at(model, images, layers)
    for layer in set(layers):
        rows = [i for i, name in enumerate(layers) if name == layer]
        alone = hooks.activations(model, images[rows], [layer])[layer]
        assert torch.allclose(outputs[layer], alone, atol=1e-6)
    sum(values.square().sum() for values in outputs.values()).backward()
    assert images.grad.flatten(1).any(1).all()


def test_no_image_is_processed_beyond_its_layer():
    model, batch_sizes = models.load(layered_net(), input_size=SIZE), []
    model.net.relu2.register_forward_hook(lambda *_: batch_sizes.append(len(_[1][0])))
    activations_at(model, torch.rand(5, 3, SIZE, SIZE), ["conv", "full", "conv", "pool", "full"])
    assert batch_sizes[-1] == 2
