"""Training evolution (Zeiler and Fergus 2013, figure 4): how features develop in training."""

from .curves import (
    category_switches,
    dead_fraction,
    detected_concepts,
    detection_delay,
    detector_counts,
    projection_rms,
    slowdown,
    top_image_changes,
)
from .record import PAPER_EPOCHS, Observations, Recorder, record, schedule, train
from .runs import (
    Recommendation,
    RunComparison,
    RunSummary,
    recommend,
    recommendations,
    summarize,
)
from .sets import TrainingSets, is_recording, open_sets, recipe_for
from .similarity import Similarity, linear_cka, similarity, step_reaching
from .store import Evolution, Snapshot, load, restore

__all__ = [
    "PAPER_EPOCHS", "Evolution", "Observations", "Recommendation", "Recorder", "RunComparison",
    "RunSummary", "Similarity", "Snapshot", "TrainingSets", "category_switches", "dead_fraction",
    "detected_concepts", "detection_delay", "detector_counts", "is_recording", "linear_cka",
    "load", "open_sets", "projection_rms", "recipe_for", "recommend", "recommendations", "record",
    "restore", "schedule", "similarity", "slowdown", "step_reaching",
    "summarize", "top_image_changes", "train",
]  # fmt: skip
