"""Figures: plain arrays in, one house style, and files that are the same to the byte."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ...data import images
from .style import (
    DPI,
    INK,
    MARKER_COLORS,
    Array,
    add_legend_below,
    figure_style,
    new_figure,
    to_numpy,
)

MIN_TILE_SIZE = 32  # pixels that pictures on a sheet have at least, or nearly
Box = Sequence[int]  # y0, x0, y1, x1 in a picture's own pixels


def _display_array(image: Array) -> np.ndarray:
    """One image (3, h, w) or map (h, w) in [0, 1], as matplotlib takes it."""
    array = np.clip(to_numpy(image).astype(np.float32), 0, 1)
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def normalize_kernels(weights: Array, shared: bool = False, clipped: float = 0.0) -> np.ndarray:
    """Bring kernels, or projections, to [0, 1] for display, zero at mid-gray.

    Args:
        weights: (n, 3, h, w).
        shared: one scale for all, so that weak filters look weak; else each fills the range.
        clipped: share of the values that may lie beyond the range, so that a few large ones do not
            leave the others pale.
    """
    array = to_numpy(weights).astype(np.float32)
    axes = None if shared else (1, 2, 3)
    size = np.abs(array)
    largest = size.max(axis=axes, keepdims=True)
    if clipped:
        # Of a picture that is empty but for a few values, these still make the scale.
        most = np.quantile(size, 1 - clipped, axis=axes, keepdims=True)
        largest = np.maximum(most, 0.2 * largest)
    return np.clip(0.5 + 0.5 * array / np.maximum(largest, 1e-12), 0, 1)


def normalize_projections(pictures: Array) -> np.ndarray:
    """Bring projections (n, 3, h, w) to [0, 1], the strongest half percent clipped."""
    return normalize_kernels(pictures, clipped=0.005)


def mosaic(pictures: Array) -> Tensor:
    """Lay pictures of one size out in a square, as one picture (3, y, x), white between them.

    Args:
        pictures: (n, 3, h, w) in [0, 1]; the pixels of small ones are drawn larger.
    """
    many, times = torch.as_tensor(to_numpy(pictures)), _pixel_repeats(pictures)
    large = many.repeat_interleave(times, 2).repeat_interleave(times, 3)
    return images.tile(large, _column_count(len(many)), 1)


def _column_count(count: int) -> int:
    return math.isqrt(count - 1) + 1


def _pixel_repeats(pictures: Array) -> int:
    return max(1, MIN_TILE_SIZE // max(pictures.shape[-2:]))


def mosaic_boxes(kinds: Mapping[str, Sequence[int]], pictures: Array) -> dict[str, list[Box]]:
    """Return where pictures lie on their `sheet`, kind by kind, as `picture_grid` frames them.

    Args:
        kinds: kind -> numbers of pictures.
        pictures: what the sheet shows.
    """
    columns = _column_count(len(pictures))
    height, width = (side * _pixel_repeats(pictures) for side in pictures.shape[-2:])
    corners = {
        kind: [(n // columns * (height + 1), n % columns * (width + 1)) for n in numbers]
        for kind, numbers in kinds.items()
    }
    return {
        kind: [(y, x, y + height, x + width) for y, x in places] for kind, places in corners.items()
    }


def overlay_heatmap(picture: Array, values: Array) -> np.ndarray:
    """Lay values over a picture in colours, from blue where least to yellow where most.

    Args:
        picture: (3, h, w) in [0, 1].
        values: (h, w), of any range.

    Returns:
        The coloured picture (3, h, w).
    """
    gray, values = to_numpy(picture).mean(0, keepdims=True), to_numpy(values)
    share = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    return 0.65 * colormaps["viridis"](share)[..., :3].transpose(2, 0, 1) + 0.35 * gray


def image_grid(
    rows: Sequence[Sequence[Array | None]] | Array,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    boxes: Sequence[Sequence[Mapping[str, Sequence[Box]]]] = (),
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
        boxes: rows of what is framed in each picture: kind -> boxes (y0, x0, y1, x1) in its
            pixels. Kinds are told apart by colour, and named below all.
        title: above everything.
        cell: side of a picture in inches.
    """
    kinds = dict.fromkeys(kind for row in boxes for marks in row for kind in marks)
    colors = dict(zip(kinds, cycle(MARKER_COLORS), strict=False))
    columns = max(len(row) for row in rows)
    words = [line for label in row_labels for line in label.splitlines()]
    left = 0.12 + 0.075 * max(map(len, words), default=0)
    top = 0.08 + 0.3 * bool(title) + 0.22 * bool(column_labels)
    lines = max((note.count("\n") + 1 for row in notes for note in row), default=0)
    under, gap, legend = 0.05 + 0.15 * lines if len(notes) else 0.0, 0.06, 0.26 * bool(kinds)
    width = max(left + columns * (cell + gap) + 0.06, 0.2 + 0.07 * len(title))
    height = top + len(rows) * (cell + under + gap) + 0.04 + legend
    with figure_style():
        figure = new_figure(width, height)
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
                    _add_caption(
                        figure, x + cell / 2, bottom + cell + 0.05, column_labels[c], 8, "bottom"
                    )
                if image is None:
                    continue
                axes = _add_image(figure, x, bottom, cell, image)
                if r < len(boxes) and c < len(boxes[r]):
                    _draw_boxes(axes, boxes[r][c], colors)
                if r < len(notes) and c < len(notes[r]):
                    _add_caption(figure, x + cell / 2, bottom - 0.03, notes[r][c], 7, "top")
        add_legend_below(figure, colors, left)
    return figure


def _add_image(figure: Figure, x: float, y: float, side: float, image: Array) -> Axes:
    """Draw a picture in a square of `side` inches whose lower left corner is at x, y."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, side / width, side / height))
    shown = _display_array(image)
    # Where a picture has more pixels than its place, dropping some would alias.
    fits = max(shown.shape[:2]) <= side * DPI
    axes.imshow(
        shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if fits else "antialiased"
    )
    axes.set_axis_off()
    return axes


def _draw_boxes(axes: Axes, marks: Mapping[str, Sequence[Box]], colors: Mapping[str, str]) -> None:
    for kind, boxes in marks.items():
        for y0, x0, y1, x1 in boxes:
            corner = (float(x0) - 0.5, float(y0) - 0.5)
            frame = Rectangle(corner, float(x1 - x0), float(y1 - y0), fill=False, lw=1.4)
            frame.set(edgecolor=colors[kind], clip_on=False)
            axes.add_patch(frame)


def _add_caption(figure: Figure, x: float, y: float, text: str, size: float, side: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(x / width, y / height, text, ha="center", va=side, size=size, color=INK)


def contact_sheet(images: Array, columns: int, cell: float = 1.0, title: str = "") -> Figure:
    """Draw pictures of one kind, `columns` to a row, without words."""
    pictures = list(images)
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    return image_grid(rows, cell=cell, title=title)
