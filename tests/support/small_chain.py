"""A small chain with maps and a head that averages class maps, its pictures and a decoder."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.models import generators

SIZE = 20
CLASSES = torch.arange(8) % 4


def model() -> models.Model:
    """A chain with two layers of maps and a head that averages its class maps over places."""
    torch.manual_seed(3)
    parts = [("conv1", nn.Conv2d(3, 8, 3, 2, 1)), ("relu1", nn.ReLU()), ("pool", nn.MaxPool2d(2))]
    parts += [("conv2", nn.Conv2d(8, 6, 3, padding=1)), ("relu2", nn.ReLU())]
    parts += [("classes", nn.Conv2d(6, 4, 1)), ("mean", nn.AdaptiveAvgPool2d(1))]
    net = nn.Sequential(OrderedDict([*parts, ("flat", nn.Flatten())]))
    for module in (net.conv1, net.conv2, net.classes):
        module.weight.data *= 4  # so that pictures of noise are told apart
    return models.load(net, input_size=SIZE)


def pictures() -> Tensor:
    """Eight pictures of noise."""
    return torch.rand(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def painter() -> generators.Generator:
    """Shows the first unit as the gray of the whole picture; a mean of 8 is white."""
    drawer = generators.load("generator_FL3", weights="random")
    drawer.draw = lambda codes: (
        (codes.mean((2, 3)) / 8)[:, :1, None, None].expand(-1, 3, SIZE, SIZE).clamp(0, 1)
    )
    return drawer
