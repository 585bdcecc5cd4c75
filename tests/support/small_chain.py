"""Small networks with known structure, noise images, and a decoder."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.models import generators

SIZE = 20
CLASSES = torch.arange(8) % 4


def model() -> models.Model:
    """A sequential network with two layers of maps and a head that averages its class maps."""
    torch.manual_seed(3)
    parts = [("conv1", nn.Conv2d(3, 8, 3, 2, 1)), ("relu1", nn.ReLU()), ("pool", nn.MaxPool2d(2))]
    parts += [("conv2", nn.Conv2d(8, 6, 3, padding=1)), ("relu2", nn.ReLU())]
    parts += [("classes", nn.Conv2d(6, 4, 1)), ("mean", nn.AdaptiveAvgPool2d(1))]
    net = nn.Sequential(OrderedDict([*parts, ("flat", nn.Flatten())]))
    for module in (net.conv1, net.conv2, net.classes):
        module.weight.data *= 4  # so that noise images get different classes
    return models.load(net, input_size=SIZE)


def fully_connected_model(norm: bool = False) -> models.Model:
    """A sequential network that ends in fully connected layers, with batch normalization or not."""
    torch.manual_seed(1)
    parts = [("conv1", nn.Conv2d(3, 8, 3, 2, 1)), ("bn1", nn.BatchNorm2d(8)), ("relu1", nn.ReLU())]
    parts += [("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(8, 6, 3, padding=1))]
    parts += [("relu2", nn.ReLU()), ("flatten", nn.Flatten()), ("fc1", nn.Linear(150, 9))]
    parts += [("relu3", nn.ReLU()), ("drop", nn.Dropout(0.5)), ("fc2", nn.Linear(9, 4))]
    if not norm:
        parts.pop(1)
    net = nn.Sequential(OrderedDict(parts))
    if norm:
        net.bn1.running_mean.uniform_(-0.2, 0.2)
        net.bn1.weight.data.uniform_(0.5, 2)
    return models.load(net, input_size=SIZE)


def layered_net() -> nn.Sequential:
    """A sequential network of two convolutions and a fully connected layer, for 24x24 images."""
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 8, 3, padding=1),
        "relu": nn.ReLU(),
        "pool": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(8, 8, 3),
        "relu2": nn.ReLU(),
        "flatten": nn.Flatten(),
        "full": nn.Linear(8 * 10 * 10, 10),
    }
    return nn.Sequential(OrderedDict(layers))


class Branching(nn.Module):
    """A network whose last layer reads two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((x + self.second(x)).mean((2, 3)))


def branching_model() -> models.Model:
    """A network that is not sequential."""
    return models.load(Branching(), input_size=SIZE)


def images() -> Tensor:
    """Eight noise images."""
    return torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def decoder() -> generators.Generator:
    """Return a decoder that shows the first unit's mean as a gray image; a mean of 8 is white."""
    decoder = generators.load("generator_FL3", weights="random")
    decoder.draw = lambda codes: (
        (codes.mean((2, 3)) / 8)[:, :1, None, None].expand(-1, 3, SIZE, SIZE).clamp(0, 1)
    )
    return decoder
