"""Image synthesis by gradient ascent: objectives, image spaces, update rules, recipes."""

from . import image_space, objectives, optimizers, transforms
from .ascent import (
    DEFAULT_OPTIONS,
    GIBIBYTE,
    AscentResult,
    Monitor,
    Options,
    Phase,
    StepCallback,
    ascend,
    batch_that_fits,
)
from .recipe import Recipe

__all__ = [
    "DEFAULT_OPTIONS", "GIBIBYTE", "AscentResult", "Monitor", "Options", "Phase", "Recipe",
    "StepCallback", "ascend", "batch_that_fits", "image_space", "objectives", "optimizers",
    "transforms",
]  # fmt: skip
