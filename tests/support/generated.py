"""A network, a generator with random weights, and the codes and bounds of some scenes."""

from functools import cache

import torch

from cnnvis_lab import models
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import deep_generator
from cnnvis_lab.models import generators

MODEL = "alexnet_mini"
SCENES = SceneSet(HELD_OUT_SEED, 32)


@cache
def network() -> models.Model:
    """The network whose units are maximized, and whose codes the generator takes."""
    return models.load(MODEL)


@cache
def generator(name: str = "generator_FL1") -> generators.Generator:
    """A generator with random weights."""
    return generators.load(name, weights="random")


@cache
def codes() -> torch.Tensor:
    """The codes of the scenes."""
    return deep_generator.encode(network(), generator(), SCENES.batches(16))


def bounds() -> deep_generator.CodeBounds:
    """The bounds of the codes."""
    return deep_generator.fit_bounds(codes())
