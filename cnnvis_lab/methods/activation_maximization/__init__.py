"""Activation maximization (Erhan et al. 2009): images that maximize a unit's activation.

x* = argmax_x a(x) - lambda(x), where a is the unit's activation and lambda a regularizer (survey,
section 3). All units of a call are optimized in one batch, one image per unit. Forward and backward
pass cover only the layers up to that of the units, and a convolutional unit is rendered on a canvas
just large enough for its receptive field.
"""

from .analysis import (
    KernelAgreement,
    RecipeComparison,
    agreement_between_starts,
    agreement_by_layer,
    companion_rates,
    compare_recipes,
    first_recognized_step,
    fraction_above_dataset_max,
    increases_most_at,
    kernel_agreement,
)
from .canvas import Canvas, canvas_for, full_canvas
from .deep_dream import deep_dream, deep_dreams
from .facets import Facets, facet_starts, render_facets
from .recipes import RECIPES, Recipe, mahendran2016
from .render import (
    SNAPSHOT_STEPS,
    Rendering,
    render,
    render_directions,
    render_layers,
    render_recipes,
)

__all__ = [
    "RECIPES", "SNAPSHOT_STEPS", "Canvas", "Facets", "KernelAgreement", "Recipe",
    "RecipeComparison", "Rendering", "agreement_between_starts", "agreement_by_layer",
    "canvas_for", "companion_rates", "compare_recipes", "deep_dream", "deep_dreams",
    "facet_starts", "first_recognized_step", "fraction_above_dataset_max", "full_canvas",
    "increases_most_at", "kernel_agreement", "mahendran2016", "render", "render_directions",
    "render_facets", "render_layers", "render_recipes",
]  # fmt: skip
