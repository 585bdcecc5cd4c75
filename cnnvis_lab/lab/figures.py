"""Figures: plain arrays in, one house style, and files that are the same to the byte.

Only matplotlib's object interface is used, so that figures can be made on any thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from threading import RLock

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

Array = Tensor | np.ndarray | Sequence

# Okabe and Ito's colours, told apart by colour-blind readers, in order of use.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
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
def _house_style() -> Iterator[None]:
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
    with _house_style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _numbers(values: Array) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _picture(image: Array) -> np.ndarray:
    """One image (3, h, w) or map (h, w) in [0, 1], as matplotlib takes it."""
    array = np.clip(_numbers(image).astype(np.float32), 0, 1)
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def kernels(weights: Array, shared: bool = False) -> np.ndarray:
    """Bring kernels to [0, 1] for display, zero at mid-gray.

    Args:
        weights: (n, 3, h, w).
        shared: one scale for all, so that weak filters look weak; else each fills the range.
    """
    array = _numbers(weights).astype(np.float32)
    axes = None if shared else (1, 2, 3)
    largest = np.abs(array).max(axis=axes, keepdims=True)
    return 0.5 + 0.5 * array / np.maximum(largest, 1e-12)


def picture_grid(
    rows: Sequence[Sequence[Array | None]] | Array,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    title: str = "",
    cell: float = 1.0,
) -> Figure:
    """Draw pictures in rows.

    Args:
        rows: rows of images (3, h, w) or maps (h, w) in [0, 1]; rows may differ in length, and a
            picture may be None for an empty place.
        row_labels: one for each row, written to its left.
        column_labels: one for each column, written above.
        notes: rows of short texts, written under each picture.
        title: above everything.
        cell: side of a picture in inches.
    """
    columns = max(len(row) for row in rows)
    words = [line for label in row_labels for line in label.splitlines()]
    left = 0.12 + 0.075 * max(map(len, words), default=0)
    top = 0.08 + 0.3 * bool(title) + 0.22 * bool(column_labels)
    under = 0.2 if len(notes) else 0.0
    gap = 0.06
    width = max(left + columns * (cell + gap) + 0.06, 0.2 + 0.07 * len(title))
    height = top + len(rows) * (cell + under + gap) + 0.04
    with _house_style():
        figure = _figure(width, height)
        if title:
            figure.text(0.1 / width, 1 - 0.09 / height, title, va="top", size=9.5, color=INK)
        for r, row in enumerate(rows):
            bottom = height - top - (r + 1) * (cell + under + gap) + under + gap
            if r < len(row_labels):
                middle = (bottom + cell / 2) / height
                figure.text(
                    (left - 0.08) / width, middle, row_labels[r], ha="right", va="center", size=8.5
                )
            for c, image in enumerate(row):
                x = left + c * (cell + gap)
                if r == 0 and c < len(column_labels):
                    _caption(
                        figure, x + cell / 2, bottom + cell + 0.05, column_labels[c], 8, "bottom"
                    )
                if image is None:
                    continue
                axes = figure.add_axes((x / width, bottom / height, cell / width, cell / height))
                axes.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
                axes.set_axis_off()
                if r < len(notes) and c < len(notes[r]):
                    _caption(figure, x + cell / 2, bottom - 0.03, notes[r][c], 7, "top")
    return figure


def _caption(figure: Figure, x: float, y: float, text: str, size: float, side: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, ha="center", va=side, size=size, color=INK)


def contact_sheet(images: Array, columns: int, cell: float = 1.0, title: str = "") -> Figure:
    """Draw pictures of one kind, `columns` to a row, without words."""
    pictures = list(images)
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    return picture_grid(rows, cell=cell, title=title)


def _chart(title: str, xlabel: str, ylabel: str, width: float, height: float) -> tuple:
    figure = _figure(width, height)
    axes = figure.add_axes((0.62 / width, 0.5 / height, 1 - 0.8 / width, 1 - 0.82 / height))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _legend(axes: Axes, names: Sequence[str]) -> None:
    if any(names):
        axes.legend()


def lines(
    series: Mapping[str, tuple[Array, Array]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw lines; `series` maps each line's name to its x and y values."""
    with _house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        for color, (name, (x, y)) in zip(cycle(COLORS), series.items(), strict=False):
            axes.plot(_numbers(x), _numbers(y), color=color, label=name, lw=1.6)
        _legend(axes, list(series))
    return figure


def bars(
    labels: Sequence[str],
    values: Array,
    *,
    spread: Array | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    line: float | None = None,
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw one bar a label, with its spread where given, and a line across for reference."""
    with _house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        heights = _numbers(values)
        error = None if spread is None else _numbers(spread)
        axes.bar(range(len(heights)), heights, color=COLORS[0], width=0.7, yerr=error, ecolor=INK)
        if len(labels) == len(heights):
            axes.set_xticks(range(len(labels)), labels)
        else:
            axes.set_xticks([])
        if line is not None:
            axes.axhline(line, color=COLORS[1], lw=1, ls="--")
        axes.axhline(0, color=FAINT, lw=0.8)
    return figure


def histogram(
    groups: Mapping[str, Array],
    *,
    bins: int = 24,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "count",
    line: float | None = None,
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw histograms of groups over common bins, stacked."""
    with _house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        values = [_numbers(group) for group in groups.values()]
        colors = [color for color, _ in zip(cycle(COLORS), groups, strict=False)]
        axes.hist(values, bins=bins, stacked=True, color=colors, label=list(groups))
        if line is not None:
            axes.axvline(line, color=INK, lw=1, ls="--")
        _legend(axes, list(groups))
    return figure
