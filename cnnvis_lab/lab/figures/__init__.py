"""Figures from plain arrays, in one style, byte-identical on every run."""

from . import concepts, deconvnet, inversion, perturbation, unit
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
from .text import quality_label
from .tiles import TILE_SIZE, Tile, render_png

__all__ = [
    "TILE_SIZE", "Chart", "Tile", "bar_chart", "chart_grid", "concepts",
    "contact_sheet", "deconvnet", "image_grid", "inversion", "line_chart", "mosaic",
    "mosaic_boxes", "normalize_kernels", "normalize_projections", "overlay_heatmap",
    "perturbation", "quality_label", "render_png", "scatter", "stacked_bars", "to_png", "unit",
]  # fmt: skip
