"""A small network, and a batch of small images to optimize, for the tests of the ascent."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnvis_lab.core.optimization import (
    AscentResult,
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
    transforms,
)
from cnnvis_lab.core.optimization.objectives import Objective

SEEDS = [3, 1, 4, 1, 5]
UNITS = [0, 4, 2, 4, 1]
MOVES = transforms.compose(transforms.roll(2), transforms.scale([0.9, 1.0, 1.2]))


def small_net() -> nn.Module:
    """Two convolutions; 5 units in layers "3" and "4", in double precision."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.Tanh()]
    return nn.Sequential(*layers).eval().double()


def pixels(seeds: Sequence[int] = SEEDS, low: float | None = 0.0) -> image_space.Space:
    """Noise of 12x12 pixels, in double precision."""
    return image_space.pixels(image_space.noise(seeds, 12).double(), low=low, high=None)


def score(objective: Objective, net: nn.Module, images: Tensor, index: Tensor) -> Tensor:
    """Return an objective's scores of images as they are."""
    return objectives.evaluate([objective], net, images, index, images)[0]


def ascent(
    net: nn.Module, objective: Objective, space: image_space.Space, **given: Any
) -> AscentResult:
    """Ascend with the fields of `Phase` and `Options` by name; the update rule is Adam's."""
    given = {"optimizer": optimizers.adam()} | given
    phase = {name: given.pop(name) for name in Phase.__dataclass_fields__ if name in given}
    return ascend(net, objective, space, Phase(**phase), Options(**given))


def moving_ascent(
    net: nn.Module, objective: Objective, space: image_space.Space, **given: Any
) -> AscentResult:
    """Ascend 12 steps under random transformations, unless the arguments say otherwise."""
    return ascent(net, objective, space, **{"steps": 12, "transform": MOVES, "seed": 3} | given)
