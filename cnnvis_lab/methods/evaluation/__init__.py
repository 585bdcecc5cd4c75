"""Evaluation of images and units with a dataset, an independent classifier and linear probes."""

from .companions import CompanionProbe, fit_companion_probe, fraction_with_companion
from .recognition import (
    distance_to_real,
    fraction_recognized,
    has_classes,
    pooled_features,
    predict_names,
)
from .top_images import active_units, fraction_above_dataset_max, top_images

__all__ = [
    "CompanionProbe", "active_units", "distance_to_real", "fit_companion_probe",
    "fraction_above_dataset_max", "fraction_recognized", "fraction_with_companion",
    "has_classes", "pooled_features", "predict_names", "top_images",
]  # fmt: skip
