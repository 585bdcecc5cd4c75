"""Perturbation of features (Dosovitskiy and Brox 2016): what survives of an image and of its class.

A layer's features are made coarser or poorer at constant norm, then inverted or passed on
through
the rest of the network (survey, section 5, figure F10). Feature maps that matter for neither can
be
removed for good.
"""

from .analysis import (
    HALVES,
    Outcomes,
    by_fraction,
    by_layer,
    fraction_ordered,
    fraction_ordered_by_variant,
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
    predicted_classes,
    variant_cases,
)
from .perturb import (
    AblationEffect,
    accuracy,
    drop,
    forward_from,
    get_perturbation,
    importance,
    keep_top,
    map_importance,
    perturb,
    quantize,
    reconstruction_error,
)
from .pruning import PruningResult, cost, mask_units, prune, pruning_curve, save_pruned
from .pruning_analysis import (
    accuracy_gain,
    evaluate_pruned,
    mean_pruning_curve,
    prune_jointly,
    prune_to_fraction,
    rankings,
)
from .reconstruct import errors_by_case, reconstruct_by_decoder, reconstruct_by_optimization

__all__ = [
    "HALVES", "ORDERS", "VARIANTS", "AblationEffect", "Case", "Exactness", "Outcome",
    "Outcomes", "PruningResult", "accuracy", "accuracy_gain", "by_fraction", "by_layer", "cost",
    "drop", "dropping_cases", "errors_by_case", "evaluate_pruned", "exactness", "forward_from",
    "fraction_ordered", "fraction_ordered_by_variant", "get_perturbation", "importance",
    "keep_top", "map_importance", "mask_units", "mean_pruning_curve", "outcomes", "perturb",
    "perturbed_layers", "predicted_classes", "prune", "prune_jointly", "prune_to_fraction",
    "pruning_curve", "quantize", "random_between_margin", "rankings", "reconstruct_by_decoder",
    "reconstruct_by_optimization", "reconstruction_error", "relative_accuracy",
    "robustness_gain", "save_pruned", "variant_cases",
]  # fmt: skip
