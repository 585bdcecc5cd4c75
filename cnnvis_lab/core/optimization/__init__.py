"""Image synthesis by gradient ascent: objectives, image spaces, transformations, update rules and
recipes.
"""

from . import image_space, objectives, optimizers, transforms
from .ascent import GIBIBYTE, AscentResult, StepCallback, ascend, batch_that_fits

__all__ = [
    "GIBIBYTE", "AscentResult", "StepCallback", "ascend", "batch_that_fits", "image_space",
    "objectives", "optimizers", "transforms",
]  # fmt: skip
