"""Web pages of a results folder: the gallery, its manifest, executed notebooks, comparisons."""

from . import compare, dissection, notebook
from .html import verdict_row
from .index import build
from .manifest import claims_table, require_records, verify

__all__ = [
    "build", "claims_table", "compare", "dissection", "notebook", "require_records",
    "verdict_row", "verify",
]  # fmt: skip
