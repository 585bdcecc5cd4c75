"""Training evolution (Zeiler and Fergus 2013, figure 4): how features develop in training."""

from .curves import (
    category_switches,
    dead_fraction,
    detected_concepts,
    detection_delay,
    detector_counts,
    projection_rms,
    top_image_changes,
)
from .record import PAPER_EPOCHS, Observations, Recorder, record, record_training, schedule, train
from .runs import Recommendation, RunSummary, recommend, recommendations, summarize
from .similarity import Similarity, linear_cka, similarity, step_reaching
from .store import Evolution, Snapshot, load, restore

__all__ = [
    "PAPER_EPOCHS", "Evolution", "Observations", "Recommendation", "Recorder", "RunSummary",
    "Similarity", "Snapshot", "category_switches", "dead_fraction", "detected_concepts",
    "detection_delay", "detector_counts", "linear_cka", "load", "projection_rms", "recommend",
    "recommendations", "record", "record_training", "restore", "schedule", "similarity",
    "step_reaching", "summarize", "top_image_changes", "train",
]  # fmt: skip
