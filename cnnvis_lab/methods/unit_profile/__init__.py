"""Unit profile: what all methods of the survey (arXiv 1804.11191) show about a single unit."""

from .atlas import (
    TOP_COUNT,
    LayerScan,
    UnitBatch,
    all_layers,
    profile_units,
    summarize,
)
from .choice import ChosenUnits, choose_units
from .history import (
    TrackedUnits,
    TrainingHistory,
    UnitSnapshot,
    recorded_history,
    shipped_history,
    track,
    unit_history,
)
from .layer import (
    ConceptFit,
    ConceptWeight,
    LayerAnalysis,
    Unavailable,
    analyze_layer,
    analyze_layers,
)
from .profile import (
    BoundedGenerator,
    Rendered,
    UnitProfile,
    best_concept_name,
    first_layer_kernel,
    generator_for,
    maximize_activation,
    maximize_activations,
    maximize_with_generator,
    profile,
    resolve_unit,
)
from .top_images import TopImages, top_images

__all__ = [
    "TOP_COUNT", "BoundedGenerator", "ChosenUnits", "ConceptFit", "ConceptWeight",
    "LayerAnalysis", "LayerScan", "Rendered", "TopImages", "TrackedUnits", "TrainingHistory",
    "Unavailable", "UnitBatch", "UnitProfile", "UnitSnapshot", "all_layers", "analyze_layer",
    "analyze_layers", "best_concept_name", "choose_units", "first_layer_kernel",
    "generator_for", "maximize_activation", "maximize_activations", "maximize_with_generator",
    "profile", "profile_units", "recorded_history", "resolve_unit", "shipped_history",
    "summarize", "top_images", "track", "unit_history",
]  # fmt: skip
