"""Synthetic scenes: a procedural dataset with exact labels in Broden's six categories."""

from .dataset import ATTRIBUTES, HELD_OUT_SEED, TRAIN_SEED, SceneSet
from .objects import CLASS_NAMES, COMPANIONS
from .parts import PartTruth
from .world import LABELS, SIZE, Instance, SceneImage, draw

__all__ = [
    "ATTRIBUTES", "CLASS_NAMES", "COMPANIONS", "HELD_OUT_SEED", "LABELS", "SIZE", "TRAIN_SEED",
    "Instance", "PartTruth", "SceneImage", "SceneSet", "draw",
]  # fmt: skip
