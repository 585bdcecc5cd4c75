"""Net2Vec (Fong and Vedaldi 2018): concepts as combinations of a layer's units.

Is a concept encoded in one unit or in many? For every concept, a vector of weights over the units
of a layer is learned, either to cover the concept's pixels (segmentation) or to predict whether an
image shows it (classification), and compared with the best single unit. Unlike in network
dissection, activations are thresholded before upsampling, maps are stretched over the image instead
of anchored at receptive fields, only images that show the concept count, and whatever is learned or
chosen on training images is scored on other images.
"""

from .analysis import (
    ANALOGIES,
    ConceptExamples,
    Example,
    analogy_rank,
    analogy_ranks,
    compare_examples,
    concepts_to_show,
    examples,
    fraction_better_covered,
    fully_connected_layers,
)
from .classify import balanced_accuracy, best_thresholds, classify
from .compare import (
    CLASSIFIED,
    SINGLE,
    ScoreTable,
    by_category,
    compare_classification,
    compare_segmentation,
)
from .curves import FilterCurve, classification_curve, filter_counts, segmentation_curve
from .filters import (
    BestFilters,
    best_filters,
    filter_iou,
    largest_weights,
    learn_subsets,
    one_hot,
    usable_concepts,
)
from .invert import (
    InvertedConcepts,
    inversion_recipe,
    invert_concepts,
    invert_vectors,
    largest_example,
    rows_to_invert,
)
from .prepare import PreparedSet, prepare
from .segment import (
    LOSSES,
    SGD_SETTINGS,
    Probes,
    SGDSettings,
    masks,
    segment,
    segment_layers,
    set_iou,
)
from .vectors import (
    CONCEPT_COUNT_GROUPS,
    chance_purity,
    combine,
    mean_sharing,
    neighbors,
    principal_plane,
    purity,
    sharing_histogram,
)

__all__ = [
    "ANALOGIES", "CLASSIFIED", "CONCEPT_COUNT_GROUPS", "LOSSES", "SGD_SETTINGS", "SINGLE",
    "BestFilters", "ConceptExamples", "Example", "FilterCurve", "InvertedConcepts", "PreparedSet",
    "Probes", "SGDSettings", "ScoreTable", "analogy_rank", "analogy_ranks", "balanced_accuracy",
    "best_filters", "best_thresholds", "by_category", "chance_purity", "classification_curve",
    "classify", "combine", "compare_classification", "compare_examples", "compare_segmentation",
    "concepts_to_show", "examples", "filter_counts", "filter_iou", "fraction_better_covered",
    "fully_connected_layers", "inversion_recipe", "invert_concepts", "invert_vectors",
    "largest_example", "largest_weights", "learn_subsets", "masks", "mean_sharing", "neighbors",
    "one_hot", "prepare", "principal_plane", "purity", "rows_to_invert", "segment",
    "segment_layers", "segmentation_curve", "set_iou", "sharing_histogram", "usable_concepts",
]  # fmt: skip
