"""Web pages of a results folder: the gallery, its manifest, executed notebooks, comparisons."""

from importlib import import_module
from typing import TYPE_CHECKING

from . import html
from .index import build, is_current
from .manifest import claims_table, read_records, require_records, verify

if TYPE_CHECKING:
    from . import atlas, compare, dissection, notebook

__all__ = [
    "atlas", "build", "claims_table", "compare", "dissection", "html", "is_current", "notebook",
    "read_records", "require_records", "verify",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the modules of large pages on first use: they need torch or nbconvert."""
    if name in ("atlas", "compare", "dissection", "notebook"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
