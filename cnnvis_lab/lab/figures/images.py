"""Images for display: normalized weights, mosaics, heatmaps, and grids of images with labels."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, zip_longest
from textwrap import fill

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ...data import images
from .page import Box, Page, draw_box
from .style import INK, MARKER_COLORS, Array, drawn_length, figure_style, to_numpy

MIN_TILE_SIZE = 32  # minimum size of an image in a mosaic, in pixels, approximately


def normalize_kernels(
    weights: Array, shared: bool = False, clip_fraction: float = 0.0
) -> np.ndarray:
    """Bring kernels or projections to [0, 1] for display, with zero at mid-gray.

    Args:
        weights: (n, 3, h, w).
        shared: one scale for all, so that weak filters look weak; else each fills the range.
        clip_fraction: fraction of the values that may be clipped, so that a few large values do
            not make the others pale.
    """
    array = to_numpy(weights).astype(np.float32)
    axes = None if shared else (1, 2, 3)
    size = np.abs(array)
    largest = size.max(axis=axes, keepdims=True)
    if clip_fraction:
        quantile = np.quantile(size, 1 - clip_fraction, axis=axes, keepdims=True)
        # In an image that is empty except for a few values, these still set the scale.
        largest = np.maximum(quantile, 0.2 * largest)
    return np.clip(0.5 + 0.5 * array / np.maximum(largest, 1e-12), 0, 1)


def normalize_projections(projections: Array, shared: bool = False) -> np.ndarray:
    """Bring projections (n, 3, h, w) to [0, 1], with the largest 0.5 % of the values clipped."""
    return normalize_kernels(projections, shared, clip_fraction=0.005)


def mosaic(tiles: Tensor | np.ndarray) -> Tensor:
    """Arrange images of one size in a square, as one image (3, y, x) with white lines between.

    Args:
        tiles: (n, 3, h, w) in [0, 1]; the pixels of small images are repeated.
    """
    tensor, repeats = torch.as_tensor(to_numpy(tiles)), _pixel_repeats(tiles)
    large = tensor.repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)
    return images.tile(large, _column_count(tensor), 1)


def _column_count(tiles: Tensor | np.ndarray) -> int:
    return math.isqrt(len(tiles) - 1) + 1


def _pixel_repeats(tiles: Tensor | np.ndarray) -> int:
    return max(1, MIN_TILE_SIZE // max(tiles.shape[-2:]))


def mosaic_boxes(
    kinds: Mapping[str, Sequence[int]], tiles: Tensor | np.ndarray
) -> dict[str, list[Box]]:
    """Return the boxes of images in their `mosaic`, as `image_grid` takes them.

    Args:
        kinds: kind -> indices of images.
        tiles: the images of the mosaic.
    """
    columns = _column_count(tiles)
    height, width = (size * _pixel_repeats(tiles) for size in tiles.shape[-2:])

    def box(index: int) -> Box:
        y, x = index // columns * (height + 1), index % columns * (width + 1)
        return y, x, y + height, x + width

    return {kind: [box(index) for index in indices] for kind, indices in kinds.items()}


def overlay_heatmap(image: Array, values: Array) -> np.ndarray:
    """Color an image by values, from blue for the smallest to yellow for the largest.

    Args:
        image: (3, h, w) in [0, 1], shown in gray.
        values: (h, w), of any range.

    Returns:
        The colored image (3, h, w).
    """
    gray, values = to_numpy(image).mean(0, keepdims=True), to_numpy(values)
    relative = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    return 0.65 * colormaps["viridis"](relative)[..., :3].transpose(2, 0, 1) + 0.35 * gray


@figure_style()
def image_grid(
    rows: Sequence[Sequence[Array | None] | str] | Array,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    boxes: Sequence[Sequence[Mapping[str, Sequence[Box]]]] = (),
    title: str = "",
    cell: float = 1.0,
) -> Figure:
    """Draw images in rows.

    Args:
        rows: rows of images (3, h, w) or maps (h, w) in [0, 1]; rows may differ in length, and
            None leaves a cell empty. A sentence in the place of a row says why it is missing.
        row_labels: one for each row, written to its left.
        column_labels: one for each column, written above it.
        notes: rows of short texts, written under each image.
        boxes: rows of what is framed in each image: kind -> boxes (y0, x0, y1, x1) in its
            pixels. Each kind has a color, which is named below all images.
        title: above everything.
        cell: size of an image in inches.
    """
    sentences = {n: row for n, row in enumerate(rows) if isinstance(row, str)}
    rows = [() if n in sentences else row for n, row in enumerate(rows)]
    kinds = dict.fromkeys(kind for row in boxes for marks in row for kind in marks)
    colors = dict(zip(kinds, cycle(MARKER_COLORS), strict=False))
    label_lines = [drawn_length(line) for label in row_labels for line in label.splitlines()]
    left = 0.12 + 0.075 * max(label_lines, default=0)
    heading = max((label.count("\n") + 1 for label in column_labels), default=0)
    top = 0.08 + 0.3 * bool(title) + (0.07 + 0.15 * heading if heading else 0.0)
    lines = max((note.count("\n") + 1 for row in notes for note in row), default=0)
    under, gap = 0.05 + 0.15 * lines if len(notes) else 0.0, 0.06
    pitch = cell + under + gap
    columns = max(len(row) for row in rows)
    legend = sum(0.5 + 0.068 * drawn_length(kind) for kind in kinds)
    page = Page(
        max(left + max(columns * (cell + gap) + 0.06, legend), 0.2 + 0.07 * drawn_length(title)),
        top + len(rows) * pitch + 0.04 + 0.26 * bool(kinds),
    )
    page.text(0.1, page.height - 0.09, title, va="top", size=9.5, color=INK)
    lefts = [left + column * (cell + gap) for column in range(columns)]
    for x, label in zip(lefts, column_labels, strict=False):
        y = page.height - top + 0.05
        page.text(x + cell / 2, y, label, ha="center", va="bottom", size=8, color=INK)
    bottoms = [page.height - top - (row + 1) * pitch + under + gap for row in range(len(rows))]
    for y, label in zip(bottoms, row_labels, strict=False):
        page.text(left - 0.08, y + cell / 2, label, ha="right", va="center", size=8.5)
    for y, contents in zip(bottoms, zip_longest(rows, boxes, notes, fillvalue=()), strict=True):
        for x, image, marks, note in zip_longest(lefts, *contents):
            if image is not None:
                _draw_boxes(page.image(x, y, cell, image), marks or {}, colors)
                style = {"ha": "center", "va": "top", "size": 7, "color": INK}
                page.text(x + cell / 2, y - 0.03, note or "", **style)
    for n, sentence in sentences.items():
        text = fill(sentence, max(20, int(columns * (cell + gap) / 0.075)))
        page.text(left, bottoms[n] + cell / 2, text, va="center", size=8.5, color=INK)
    page.legend(colors, left)
    return page.figure


def _draw_boxes(axes: Axes, marks: Mapping[str, Sequence[Box]], colors: Mapping[str, str]) -> None:
    for kind, boxes in marks.items():
        for box in boxes:
            draw_box(axes, box, colors[kind])


def contact_sheet(tiles: Array, columns: int, cell: float = 1.0) -> Figure:
    """Draw images in rows, without labels.

    Args:
        tiles: images (3, h, w) in [0, 1].
        columns: images per row.
        cell: size of an image in inches.
    """
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return image_grid(rows, cell=cell)
