"""Figures from plain arrays, in one style, byte-identical on every run."""

from importlib import import_module
from types import ModuleType

from . import concepts, deconvnet, inversion, perturbation
from .charts import Chart, bar_chart, chart_grid, line_chart, scatter, stacked_bars
from .images import (
    contact_sheet,
    image_grid,
    mosaic,
    mosaic_boxes,
    normalize_kernels,
    normalize_projections,
    overlay_heatmap,
)
from .style import to_png
from .text import format_values, quality_label
from .tiles import TILE_SIZE, Tile, render_png

__all__ = [
    "TILE_SIZE", "Chart", "Tile", "bar_chart", "chart_grid", "concepts", "contact_sheet",
    "deconvnet", "format_values", "image_grid", "inversion", "line_chart", "mosaic",
    "mosaic_boxes", "normalize_kernels", "normalize_projections", "overlay_heatmap",
    "perturbation", "quality_label", "render_png", "scatter", "stacked_bars", "to_png", "unit",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """Import `unit` on first use: it needs methods, and notebooks draw no such figure."""
    if name == "unit":
        return import_module(".unit", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
