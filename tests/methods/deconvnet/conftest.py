"""A small random network and images for it."""

import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models


@pytest.fixture(scope="module")
def network() -> models.Model:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    return models.load(net, input_size=32)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
