"""Figures from plain arrays, in one style, byte-identical on every run."""

from . import concepts, deconvnet, inversion, perturbation, unit
from .charts import Chart, bar_chart, chart_grid, histogram, line_chart, stacked_bars
from .images import (
    Box,
    contact_sheet,
    image_grid,
    mosaic,
    mosaic_boxes,
    normalize_kernels,
    normalize_projections,
    overlay_heatmap,
)
from .style import COLORS, DPI, Array, to_numpy, to_png
from .tiles import TILE_SIZE, Tile, render_png

__all__ = [
    "COLORS", "DPI", "TILE_SIZE", "Array", "Box", "Chart", "Tile", "bar_chart", "chart_grid",
    "concepts", "contact_sheet", "deconvnet", "histogram", "image_grid", "inversion",
    "line_chart", "mosaic", "mosaic_boxes", "normalize_kernels", "normalize_projections",
    "overlay_heatmap", "perturbation", "render_png", "stacked_bars", "to_numpy", "to_png",
    "unit",
]  # fmt: skip
