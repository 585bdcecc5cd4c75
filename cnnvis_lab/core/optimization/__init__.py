"""Image synthesis by gradient ascent: objectives, image spaces, update rules, recipes."""

from . import image_space, objectives, optimizers, transforms
from .ascent import AscentResult, NoGradientError, ascend, unmoved
from .memory import batch_that_fits
from .options import DEFAULT_OPTIONS, GIBIBYTE, Monitor, Options, Phase
from .recipe import Recipe

__all__ = [
    "DEFAULT_OPTIONS", "GIBIBYTE", "AscentResult", "Monitor", "NoGradientError", "Options", "Phase",
    "Recipe", "ascend", "batch_that_fits", "image_space", "objectives", "optimizers", "transforms",
    "unmoved",
]  # fmt: skip
