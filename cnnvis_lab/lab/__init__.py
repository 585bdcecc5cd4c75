"""What notebooks and the command line use: runs, figures, pages, explorers and exercises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

__all__ = ["begin"]


def begin(name: str, namespace: Mapping[str, object]) -> Run:
    """Begin a notebook's run; see `run.begin`, which is slow to import."""
    from . import run

    return run.begin(name, namespace)
