"""Perturbation of features (Dosovitskiy and Brox 2016): what is left of an image and its class.

A layer's activations are quantized or partly removed at constant norm, then inverted, or classified
by the rest of the network (survey, section 5, figure F10). Feature maps that matter for neither can
be pruned.
"""

from .analysis import (
    HALVES,
    fraction_ordered,
    fraction_ordered_by_variant,
    layers_with_errors,
    random_between_margin,
    relative_accuracy,
    robustness_gain,
)
from .cases import (
    ORDERS,
    VARIANTS,
    Case,
    Exactness,
    Outcome,
    dropping_cases,
    exactness,
    outcomes,
    perturbed_layers,
)
from .perturb import (
    AblationEffect,
    accuracy,
    drop,
    forward_from,
    importance,
    keep_top,
    map_importance,
    perturb,
    quantize,
    reconstruction_error,
)
from .pruning import PruningResult, cost, evaluate_pruned, prune
from .pruning_analysis import (
    accuracy_gain,
    prune_jointly,
    prune_to_fraction,
    pruning_curve,
    rankings,
)
from .reconstruct import (
    errors_by_case,
    reconstruct_by_decoder,
    reconstruct_by_optimization,
)

__all__ = [
    "HALVES", "ORDERS", "VARIANTS", "AblationEffect", "Case", "Exactness", "Outcome",
    "PruningResult", "accuracy", "accuracy_gain", "cost", "drop", "dropping_cases",
    "errors_by_case", "evaluate_pruned", "exactness", "forward_from", "fraction_ordered",
    "fraction_ordered_by_variant", "importance", "keep_top", "layers_with_errors",
    "map_importance", "outcomes", "perturb", "perturbed_layers", "prune", "prune_jointly",
    "prune_to_fraction", "pruning_curve", "quantize", "random_between_margin", "rankings",
    "reconstruct_by_decoder", "reconstruct_by_optimization", "reconstruction_error",
    "relative_accuracy", "robustness_gain",
]  # fmt: skip
