"""One house style, and figures that are the same to the byte wherever they are drawn.

Only matplotlib's object interface is used, so that figures can be made on any thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from threading import RLock

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

Array = Tensor | np.ndarray | Sequence
# Okabe and Ito's colours, told apart by colour-blind readers, in order of use.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Those that stand out on a picture.
MARKER_COLORS = ("#D55E00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#0072B2")
INK, MUTED = "#222222", "#8a8a8a"
DPI = 144
RC_PARAMS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
}
_style_lock = RLock()


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib's defaults with the house's changes, whatever the user's own settings are.

    The settings are matplotlib's for the whole process, so one thread draws at a time.
    """
    with _style_lock, rc_context():
        rcdefaults()
        rcParams.update(RC_PARAMS)
        yield


def to_png(figure: Figure) -> bytes:
    """Render a figure; the same figure always gives the same bytes."""
    buffer = BytesIO()
    with figure_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def to_numpy(values: Array) -> np.ndarray:
    """Return what was given, tensor or not, as numpy's array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def add_legend_below(figure: Figure, colors: Mapping[str, str], left: float = 0.1) -> None:
    """Name colours in one line at the lower edge, `left` inches in; nothing without any."""
    if not colors:
        return
    keys = [Line2D([], [], color=color, lw=2, label=name) for name, color in colors.items()]
    place = {"loc": "lower left", "bbox_to_anchor": (left / figure.get_size_inches()[0], 0)}
    figure.legend(handles=keys, ncols=len(keys), borderaxespad=0.2, **place)


# One colour for a category wherever it occurs; others take what is left of the house's.
CATEGORY_ORDER = ("color", "texture", "material", "part", "object", "scene")


def category_colors(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each category, in the house's order of categories."""
    known = [name for name in CATEGORY_ORDER if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    fixed = dict(zip(CATEGORY_ORDER, COLORS, strict=False))
    rest = cycle(COLORS[len(CATEGORY_ORDER) :])
    return {name: fixed.get(name) or next(rest) for name in ordered}
