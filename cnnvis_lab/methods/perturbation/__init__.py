"""Perturbation of features (Dosovitskiy and Brox 2016): what is left of an image and its class.

A layer's activations are quantized or partly removed at constant norm, then inverted, or classified
by the rest of the network (survey, section 5, figure F10). Feature maps that matter for neither can
be pruned.
"""

from .cases import (
    ORDERS,
    VARIANTS,
    Case,
    Exactness,
    dropping_cases,
    every_nth,
    exactness,
    example_layers,
    layers_and_decoders,
    perturbed_layers,
    prunable_layers,
    quantization_cases,
    reference_classes,
    score_cases,
    score_layer,
)
from .fine_tuning import TunedNetworks, TuningOptions, compare_tuned, fine_tune, split_for_tuning
from .outcomes import Outcome, Outcomes, outcomes
from .perturb import (
    AblationEffect,
    accuracy,
    class_effects,
    drop,
    estimate_importance,
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
    PruningCurves,
    Rankings,
    pruning_curves,
    rankings,
)
from .reconstruct import Reconstructions, reconstruct

__all__ = [
    "ORDERS", "VARIANTS", "AblationEffect", "Case", "Exactness", "Outcome", "Outcomes",
    "PruningCurves", "PruningResult", "Rankings", "Reconstructions", "TunedNetworks",
    "TuningOptions", "accuracy", "class_effects", "compare_tuned", "cost",
    "drop", "dropping_cases", "estimate_importance", "evaluate_pruned", "every_nth", "exactness",
    "example_layers", "fine_tune", "forward_from", "importance", "keep_top",
    "layers_and_decoders", "map_importance", "outcomes",
    "perturb", "perturbed_layers", "prunable_layers", "prune", "pruning_curves",
    "quantization_cases", "quantize", "rankings", "reconstruct", "reconstruction_error",
    "reference_classes", "score_cases", "score_layer", "split_for_tuning",
]  # fmt: skip
