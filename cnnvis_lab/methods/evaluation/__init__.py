"""Evaluation of images and units with a dataset, an independent classifier and linear probes."""

from .companions import (
    CompanionProbe,
    CompanionRates,
    companion_rates,
    fit_companion_probe,
    fraction_with_companion,
    with_companions,
)
from .recognition import (
    distance_to_real,
    fraction_recognized,
    has_classes,
    independent_classifier,
    pooled_features,
    predict_names,
)
from .top_images import active_units, top_images

__all__ = [
    "CompanionProbe", "CompanionRates", "active_units", "companion_rates", "distance_to_real",
    "fit_companion_probe", "fraction_recognized",
    "fraction_with_companion", "has_classes", "independent_classifier", "pooled_features",
    "predict_names", "top_images", "with_companions",
]  # fmt: skip
