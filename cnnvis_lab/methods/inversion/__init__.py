"""Inversion (Mahendran and Vedaldi 2015, 2016): images reconstructed from a layer's features.

x* = argmin_x C ||f(x) - f0||^2 / ||f0||^2 + lambda(x), where f are the features of a layer, f0
those of an image, and lambda a regularizer (survey, section 5, figures F8 and F9).
"""

from .analysis import (
    ReconstructionMetrics,
    baseline_position_error,
    consistency,
    distance_between_starts,
    evaluate,
    fraction_increasing,
    largest_decrease,
    post_relu_layers,
    spikiness,
    step_margin,
)
from .factors import Factor, planted_factors, readability_by_layer
from .invert import Inversion, feature_error, invert
from .recipes import RECIPES, Recipe, mahendran2015, mahendran2016, spectral
from .walkthrough import Walkthrough, walkthrough

__all__ = [
    "RECIPES", "Factor", "Inversion", "Recipe", "ReconstructionMetrics", "Walkthrough",
    "baseline_position_error", "consistency", "distance_between_starts", "evaluate",
    "feature_error", "fraction_increasing", "invert", "largest_decrease", "mahendran2015",
    "mahendran2016", "planted_factors", "post_relu_layers", "readability_by_layer", "spectral",
    "spikiness", "step_margin", "walkthrough",
]  # fmt: skip
