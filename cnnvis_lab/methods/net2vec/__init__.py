"""Net2Vec (Fong and Vedaldi 2018): concepts as combinations of a layer's units.

Is a concept encoded in one unit or in many? For every concept, a vector of weights over the units
of a layer is learned, either to cover the concept's pixels (segmentation) or to predict whether an
image shows it (classification), and compared with the best single unit. Unlike in network
dissection, activations are thresholded before upsampling, maps are stretched over the image instead
of anchored at receptive fields, only images that show the concept count, and whatever is learned or
chosen on training images is scored on other images.
"""

from .analysis import (
    Example,
    analogy_rank,
    by_category,
    concepts_to_show,
    examples,
    filter_counts,
    fraction_reached,
    fully_connected_layers,
    scores_by_filter_count,
)
from .classify import balanced_accuracy, best_thresholds, classify
from .filters import (
    BestFilters,
    best_filters,
    filter_iou,
    largest_weights,
    learn_subsets,
    one_hot,
    usable_concepts,
)
from .invert import inversion_recipe, invert_vectors, largest_example, recognizable_rows
from .prepare import PreparedSet, prepare
from .segment import LOSSES, SGD_SETTINGS, Probes, SGDSettings, masks, segment, set_iou
from .vectors import (
    chance_purity,
    combine,
    filters_needed,
    neighbors,
    principal_plane,
    purity,
    sharing_histogram,
)

__all__ = [
    "LOSSES", "SGD_SETTINGS", "BestFilters", "Example", "PreparedSet", "Probes", "SGDSettings",
    "analogy_rank", "balanced_accuracy", "best_filters",
    "best_thresholds", "by_category", "chance_purity", "classify", "combine",
    "concepts_to_show", "examples",
    "filter_counts", "filter_iou", "filters_needed", "fraction_reached",
    "fully_connected_layers", "inversion_recipe", "invert_vectors", "scores_by_filter_count",
    "largest_example", "largest_weights", "learn_subsets", "masks", "neighbors", "one_hot",
    "prepare", "principal_plane", "purity", "recognizable_rows", "segment", "set_iou",
    "sharing_histogram", "usable_concepts",
]  # fmt: skip
