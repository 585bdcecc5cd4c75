"""One house style, and figures that are the same to the byte wherever they are drawn.

Only matplotlib's object interface is used, so that figures can be made on any thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
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
MARKS = ("#D55E00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#0072B2")
INK, FAINT = "#222222", "#8a8a8a"
DPI = 144
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
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


_drawing = RLock()


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults with the house's changes, whatever the user's own settings are.

    The settings are matplotlib's for the whole process, so one thread draws at a time.
    """
    with _drawing, rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        yield


def to_png(figure: Figure) -> bytes:
    """Render a figure; the same figure always gives the same bytes."""
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def numbers(values: Array) -> np.ndarray:
    """Return what was given, tensor or not, as numpy's array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Figure, colors: Mapping[str, str], left: float = 0.1) -> None:
    """Name colours in one line at the lower edge, `left` inches in; nothing without any."""
    if not colors:
        return
    keys = [Line2D([], [], color=color, lw=2, label=name) for name, color in colors.items()]
    place = {"loc": "lower left", "bbox_to_anchor": (left / figure.get_size_inches()[0], 0)}
    figure.legend(handles=keys, ncols=len(keys), borderaxespad=0.2, **place)
