"""Figures in one style, byte-identical on every run.

General builders take plain arrays and return a matplotlib figure. The modules named after methods
take the methods' results and return a `Drawing`: the figure, its caption, its alternative text and
the numbers that it shows. They are imported on first use.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from . import concepts
from .charts import Chart, chart_grid, line_chart, scatter, stacked_bars
from .images import (
    contact_sheet,
    image_grid,
    mosaic,
    mosaic_boxes,
    normalize_kernels,
    normalize_projections,
    overlay_heatmap,
)
from .style import Array, Drawing, left_out, to_png
from .text import format_values
from .tiles import TILE_SIZE, Tile, fit_image, render_png

if TYPE_CHECKING:
    from . import (
        activation_maximization,
        deconvnet,
        deep_generator,
        dissection,
        inversion,
        net2vec,
        perturbation,
        start_here,
        training_evolution,
        unit,
    )

__all__ = [
    "TILE_SIZE", "Array", "Chart", "Drawing", "Tile", "activation_maximization",
    "chart_grid", "concepts", "contact_sheet", "deconvnet", "deep_generator", "dissection",
    "fit_image", "format_values", "image_grid", "inversion", "left_out", "line_chart", "mosaic",
    "mosaic_boxes", "net2vec", "normalize_kernels", "normalize_projections", "overlay_heatmap",
    "perturbation", "render_png", "scatter", "stacked_bars", "start_here", "to_png",
    "training_evolution", "unit",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """Import a method's figures on first use: they need the method."""
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
