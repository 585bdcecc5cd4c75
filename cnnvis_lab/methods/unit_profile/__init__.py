"""Unit profile: what all methods of the survey (arXiv 1804.11191) show about a single unit."""

from .history import (
    TrackedUnits,
    TrainingHistory,
    UnitSnapshot,
    recorded_history,
    shipped_history,
    track,
    unit_history,
)
from .layer import ConceptFit, ConceptWeight, LayerAnalysis, Unavailable, analyze_layer
from .profile import (
    BoundedGenerator,
    Rendered,
    UnitProfile,
    best_concept_name,
    first_layer_kernel,
    generator_for,
    maximize_activation,
    maximize_with_generator,
    profile,
    resolve_unit,
    unit_class,
)
from .top_images import TopImages, top_images

__all__ = [
    "BoundedGenerator", "ConceptFit", "ConceptWeight", "LayerAnalysis", "Rendered", "TopImages",
    "TrackedUnits", "TrainingHistory", "Unavailable", "UnitProfile", "UnitSnapshot",
    "analyze_layer", "best_concept_name", "first_layer_kernel", "generator_for",
    "maximize_activation", "maximize_with_generator", "profile", "recorded_history",
    "resolve_unit", "shipped_history", "top_images", "track", "unit_class",
    "unit_history",
]  # fmt: skip
