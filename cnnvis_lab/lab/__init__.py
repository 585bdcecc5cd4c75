"""Running, drawing and showing: what notebooks and the command line use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

__all__ = ["begin"]


def begin(name: str, namespace: Mapping[str, object]) -> Run:
    """Begin a notebook's run; see `run.begin`. Imported late, so that the command line is quick."""
    from . import run

    return run.begin(name, namespace)
