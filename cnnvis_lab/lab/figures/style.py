"""One style for all figures, and PNGs whose bytes depend only on what is drawn.

Only matplotlib's object interface is used, so that figures can be drawn on any thread.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import cycle
from threading import RLock

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.figure import Figure
from torch import Tensor

Array = Tensor | np.ndarray | Sequence
# Okabe and Ito's colors, which color-blind readers can distinguish, in order of use.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# Colors that are visible on any image.
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


@dataclass(frozen=True)
class Drawing:
    """A figure with what a reader needs to use it.

    Attributes:
        figure: the figure.
        caption: one or two sentences for the reader.
        alt: a description for readers who cannot see the figure.
        arrays: the numbers that the figure shows, by name.
    """

    figure: Figure
    caption: str
    alt: str
    arrays: Mapping[str, Array] = field(default_factory=dict)


@contextmanager
def figure_style() -> Generator[None]:
    """Draw with matplotlib's defaults and `RC_PARAMS`, independently of the user's settings.

    matplotlib's settings belong to the whole process, so one thread draws at a time.
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
    """Return a tensor, or anything array-like, as a numpy array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


# Categories have the same color in every figure; others take the remaining colors.
CATEGORY_ORDER = ("color", "texture", "material", "part", "object", "scene")


def category_colors(names: Sequence[str]) -> dict[str, str]:
    """Return the color of each category, in the order of `CATEGORY_ORDER`."""
    known = [name for name in CATEGORY_ORDER if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    fixed = dict(zip(CATEGORY_ORDER, COLORS, strict=False))
    rest = cycle(COLORS[len(CATEGORY_ORDER) :])
    return {name: fixed.get(name) or next(rest) for name in ordered}
