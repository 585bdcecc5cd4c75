"""The embedded picture world: procedural scenes with exact labels in Broden's six categories."""

from .objects import CLASS_NAMES, COMPANIONS
from .world import LABELS, SIZE, Instance, PartTruth, Picture, draw

__all__ = [
    "CLASS_NAMES",
    "COMPANIONS",
    "LABELS",
    "SIZE",
    "Instance",
    "PartTruth",
    "Picture",
    "draw",
]
