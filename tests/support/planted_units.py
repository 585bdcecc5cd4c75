"""A dataset with two planted concepts, a network whose units detect them, and a profile."""

import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.methods import unit_profile
from cnnvis_lab.methods.unit_profile import TrainingHistory, Unavailable, UnitProfile

from .reference_dissection import LABELS, LabelledTensors

SIZE, COUNT = 32, 60
DOG, BLUE = (
    next(number for number, label in LABELS.items() if label.name == name)
    for name in ("dog", "blue")
)


def dataset() -> LabelledTensors:
    """Return black images: 18 with a red dog of 2x2 label pixels, 18 others with a blue square."""
    images, maps = torch.zeros(COUNT, 3, SIZE, SIZE), torch.zeros(COUNT, 1, 16, 16).int()
    generator = torch.Generator().manual_seed(1)
    for index in range(36):
        y, x = torch.randint(0, 14, (2,), generator=generator).tolist()
        channel, label = (0, DOG) if index < 18 else (2, BLUE)
        images[index, channel, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4] = 1 - index / 100
        maps[index, 0, y : y + 2, x : x + 2] = label
    order = torch.randperm(COUNT, generator=generator)
    return LabelledTensors(images[order], maps[order], dict(LABELS))


def network() -> models.Model:
    """Return a network: unit 0 of the first layer is red, unit 1 is blue, unit 2 is inactive."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 3, 1, stride=2, bias=False)
    first.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [-1.0, -1, -1]])[..., None, None]
    tail = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net = nn.Sequential(first, nn.ReLU(), *tail, nn.Linear(4, 2))
    plain = Normalization((0.0,) * 3, (1.0,) * 3)
    return models.load(net, input_size=SIZE, normalization=plain, classes=("cat", "dog"))


def profile() -> UnitProfile:
    """Return the profile of unit 0 of the first layer, without a generator."""
    history = TrainingHistory({0: network().net.state_dict()}, 9, "both ends")
    generator = Unavailable("no generator is available")
    return unit_profile.profile(
        network(), "0:0", dataset(), generator=generator, history=history, steps=4
    )
