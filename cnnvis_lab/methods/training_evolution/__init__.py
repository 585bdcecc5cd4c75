"""Training evolution (Zeiler and Fergus 2013, figure 4): how features develop in training."""

from .curves import (
    Recommendation,
    category_switches,
    dead_fraction,
    detected_concepts,
    detector_counts,
    projection_rms,
    recommend,
    recommendations,
    step_reaching,
    top_image_changes,
)
from .record import PAPER_EPOCHS, Observations, Recorder, record, schedule, train
from .similarity import Similarity, linear_cka, similarity
from .store import Evolution, Snapshot, load, restore

__all__ = [
    "PAPER_EPOCHS", "Evolution", "Observations", "Recommendation", "Recorder", "Similarity",
    "Snapshot", "category_switches", "dead_fraction", "detected_concepts", "detector_counts",
    "linear_cka", "load", "projection_rms", "recommend", "recommendations", "record", "restore",
    "schedule", "similarity", "step_reaching", "top_image_changes", "train",
]  # fmt: skip
