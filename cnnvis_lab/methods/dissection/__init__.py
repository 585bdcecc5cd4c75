"""Network dissection (Bau et al. 2017): which concepts do single units detect?

A unit's mask consists of the pixels where its upsampled feature map exceeds the unit's threshold,
which 0.5 % of its activations exceed. Its score for a concept is IoU = |M and L| / |M or L|, where
M is the mask and L the concept's pixels, both counted over the images with labels of the concept's
category.
"""

from .analysis import (
    best_concept,
    best_units,
    concordance,
    conv_layers,
    correlation,
    distinct_units,
    fraction_above_threshold,
    relative_range,
    transfer_accuracy,
)
from .conventions import CONVENTIONS, Convention
from .counts import Counts, ground_truth
from .dissect import RunOptions, dissect, tables, unit_masks
from .grid import Axis, Grid, upsample
from .masks import active_pixels, cells_above
from .passes import count_pass, estimate_thresholds, threshold_pass
from .plan import LabelledData, Plan, make_plan
from .rotation import BasisComparison, RotationSweep, compare_bases, rotation_sweep
from .single_unit import (
    ConceptComparison,
    LayerMaps,
    TopActivation,
    UnitExamples,
    examples_by_category,
    examples_by_layer,
    layer_maps,
    top_activations,
)
from .spread import Spread, spread_threshold_pass
from .table import ConceptCounts, LayerTable, count_concepts, detector_counts
from .training import (
    IOU_THRESHOLDS,
    NetworkComparison,
    TrainingComparison,
    compare_networks,
    compare_trainings,
    during_training,
    load_conditions,
    short_recipe,
    training_conditions,
)
from .walkthrough import Walkthrough, walkthrough

__all__ = [
    "CONVENTIONS", "IOU_THRESHOLDS", "Axis", "BasisComparison", "ConceptComparison",
    "ConceptCounts", "Convention", "Counts", "Grid", "LayerMaps", "LabelledData", "LayerTable",
    "NetworkComparison", "Plan", "RotationSweep", "RunOptions", "Spread", "TopActivation",
    "TrainingComparison", "UnitExamples", "Walkthrough", "active_pixels", "best_concept",
    "best_units", "cells_above", "compare_bases", "compare_networks", "compare_trainings",
    "concordance", "conv_layers", "correlation", "count_concepts", "count_pass",
    "detector_counts", "dissect", "distinct_units", "during_training", "estimate_thresholds",
    "examples_by_category", "examples_by_layer", "fraction_above_threshold", "ground_truth",
    "layer_maps", "load_conditions", "make_plan", "relative_range", "rotation_sweep",
    "short_recipe", "spread_threshold_pass", "tables", "threshold_pass",
    "top_activations", "training_conditions", "transfer_accuracy", "unit_masks", "upsample",
    "walkthrough",
]  # fmt: skip
