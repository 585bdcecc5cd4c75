"""Activation maximization (Erhan et al. 2009): images that maximize a unit's activation.

x* = argmax_x a(x) - lambda(x), where a is the unit's activation and lambda a regularizer (survey,
section 3). All units of a call are optimized in one batch, one image per unit. Forward and backward
pass cover only the layers up to that of the units, and a convolutional unit is rendered on a canvas
just large enough for its receptive field.
"""

from .analysis import (
    agreement_between_starts,
    facet_starts,
    first_recognized_step,
    kernel_agreement,
    largest_increase,
)
from .canvas import Canvas, canvas_for, full_canvas
from .deep_dream import deep_dream
from .recipes import RECIPES, Recipe, mahendran2016
from .render import Rendering, render, render_directions

__all__ = [
    "RECIPES", "Canvas", "Recipe", "Rendering", "agreement_between_starts", "canvas_for",
    "deep_dream", "facet_starts", "first_recognized_step", "full_canvas", "kernel_agreement",
    "largest_increase", "mahendran2016", "render", "render_directions",
]  # fmt: skip
