"""Every unit of a network by all methods, as a folder of pages that needs no server."""

from .compare import write_comparison
from .plan import DEFAULT_STEPS, Chunk, Plan, Subject, make_plan
from .read import AtlasUnit, read_units
from .site import write_atlas
from .source import Source, open_subject, spread_on

__all__ = [
    "DEFAULT_STEPS", "AtlasUnit", "Chunk", "Plan", "Source", "Subject", "make_plan",
    "open_subject", "read_units", "spread_on", "write_atlas", "write_comparison",
]  # fmt: skip
