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
    mean_distance_between_starts,
    post_relu_layers,
    spikiness,
    step_margin,
)
from .comparison import REGULARIZED, Comparison, PriorEffects, compare, prior_effects
from .decode import (
    autoencoders_by_layer,
    decode,
    decode_by_generators,
    decoders_by_layer,
    layers_and_decoders,
)
from .factors import (
    NO_FACTORS,
    DecodingScores,
    Factor,
    PlantedScenes,
    decoding_scores,
    planted_factors,
    planted_scenes,
    score_scenes,
)
from .invert import Inversion, feature_error, invert, invert_by_each, subset
from .recipes import (
    COMPARED_RECIPES,
    RECIPES,
    Recipe,
    mahendran2015,
    mahendran2016,
    spectral,
    variation_recipes,
)
from .walkthrough import Walkthrough, walkthrough, walkthrough_layers

__all__ = [
    "COMPARED_RECIPES", "NO_FACTORS", "RECIPES", "REGULARIZED", "Comparison", "DecodingScores",
    "Factor", "Inversion", "PlantedScenes", "PriorEffects", "Recipe", "ReconstructionMetrics",
    "Walkthrough", "autoencoders_by_layer", "baseline_position_error", "compare", "consistency",
    "decode", "decode_by_generators", "decoders_by_layer", "decoding_scores",
    "distance_between_starts", "evaluate",
    "feature_error", "fraction_increasing", "invert", "invert_by_each", "largest_decrease",
    "layers_and_decoders", "mahendran2015", "mahendran2016", "mean_distance_between_starts",
    "planted_factors", "planted_scenes", "post_relu_layers", "prior_effects", "score_scenes",
    "spectral", "spikiness", "step_margin", "subset", "variation_recipes", "walkthrough",
    "walkthrough_layers",
]  # fmt: skip
