"""Sparse unit masks: only cells with a corner above the threshold are interpolated.

About one cell in fifty has such a corner. All computations use NumPy on one thread, so that several
batches can be processed concurrently. Units come last in memory, as in the channels-last outputs of
networks.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...core import Float, Int
from .grid import Grid

CHUNK_PIXELS = 2**18  # pixels interpolated together; chosen to fit in the cache


class ActiveCells(NamedTuple):
    """The cells of a batch that have a corner above some level.

    Attributes:
        index: (m,) flat index into (images, cells down, cells across, units).
        corners: (4, m) values of the map at top left, top right, bottom left, bottom right.
    """

    index: np.ndarray
    corners: np.ndarray


class ActivePixels(NamedTuple):
    """Pixels that belong to masks, and the cells that contain them.

    Attributes:
        channel: (cells,) flat index of each cell into (images, units).
        count: (cells,) number of its pixels that belong to the mask.
        cell: (pixels,) the cell of each such pixel.
        pixel: (pixels,) flat index into (images, label pixels).
    """

    channel: np.ndarray
    count: np.ndarray
    cell: np.ndarray
    pixel: np.ndarray


def cells_above(
    maps: Float[np.ndarray, "n h w units"], level: Float[np.ndarray, " units"]
) -> ActiveCells:
    """Return the cells with a corner above the level of their unit."""
    images, height, width, units = maps.shape
    over = np.empty((images, height + 2, width + 2, units), dtype=bool)
    np.greater(maps, level, out=over[:, 1:-1, 1:-1])
    over[:, 1:-1, 0], over[:, 1:-1, -1] = over[:, 1:-1, 1], over[:, 1:-1, -2]
    over[:, 0], over[:, -1] = over[:, 1], over[:, -2]
    down = over[:, :-1] | over[:, 1:]
    index = np.flatnonzero(down[:, :, :-1] | down[:, :, 1:])
    image, row, column, unit = _unravel(index, (height + 1, width + 1, units))
    flat, first = maps.reshape(-1), image * height
    rows = [(first + y) * width for y in ((row - 1).clip(min=0), row.clip(max=height - 1))]
    columns = [(column - 1).clip(min=0), column.clip(max=width - 1)]
    corners = [flat.take((y + x) * units + unit) for y in rows for x in columns]
    return ActiveCells(index, np.stack(corners))


def values_above(
    cells: ActiveCells, grid: Grid, level: Float[np.ndarray, " units"]
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return (units, values) of all positions above the level of their unit.

    Each position is the bottom right corner of exactly one cell.

    Args:
        cells: all cells with a corner above the unit's level, and possibly others.
        grid: where the positions lie.
        level: (units,) level of each unit.
    """
    _, row, column, unit = _unravel(cells.index, (*grid.cells, len(level)))
    is_position = (row < grid.rows.count) & (column < grid.columns.count)
    chosen = np.flatnonzero(is_position & (cells.corners[3] > level.take(unit)))
    return unit.take(chosen), cells.corners[3].take(chosen)


def active_pixels(
    cells: ActiveCells, grid: Grid, thresholds: Float[np.ndarray, " units"], *, binary: bool = False
) -> Iterator[ActivePixels]:
    """Yield the pixels of masks in chunks of bounded size.

    Args:
        cells: all cells with a corner above the unit's threshold, and possibly others.
        grid: where the positions lie.
        thresholds: (units,) thresholds; a pixel belongs to the mask if the map is strictly above.
        binary: threshold first and interpolate zeros and ones; the mask is where the result
            exceeds one half (Net2Vec).
    """
    height, width = grid.rows.length, grid.columns.length
    tall, wide = len(grid.rows.cell_weights), len(grid.columns.cell_weights)
    offset = (np.arange(tall)[:, None] * width + np.arange(wide)).ravel()
    level = thresholds.take(cells.index % len(thresholds))
    highest = np.maximum(*np.maximum(cells.corners[:2], cells.corners[2:]))
    chosen, step = np.flatnonzero(highest > level), max(CHUNK_PIXELS // len(offset), 1)
    for chunk in np.split(chosen, range(step, len(chosen), step)):
        shape = (*grid.cells, len(thresholds))
        image, row, column, unit = _unravel(cells.index.take(chunk), shape)
        corners, threshold = cells.corners.take(chunk, axis=1), level.take(chunk)
        if binary:
            corners, threshold = (corners > threshold).astype(np.float32), np.float32(0.5)
        # The last dimension is that of the cells, because it is by far the longest.
        across = grid.columns.cell_weights.take(column, axis=1)
        top = corners[1] + (corners[0] - corners[1]) * across
        bottom = corners[3] + (corners[2] - corners[3]) * across
        down = grid.rows.cell_weights.take(row, axis=1)[:, None]
        on = (bottom + (top - bottom) * down > threshold).reshape(len(offset), -1)
        first = (image * height + grid.rows.cell_start.take(row)) * width
        first += grid.columns.cell_start.take(column)
        pixel_offset, cell = np.divmod(np.flatnonzero(on), max(len(chunk), 1))
        channel = image * len(thresholds) + unit
        yield ActivePixels(channel, on.sum(0), cell, first.take(cell) + offset.take(pixel_offset))


def _unravel(
    index: Int[np.ndarray, " m"], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split flat indices into (image, row, column, unit)."""
    rest, unit = np.divmod(index, shape[2])
    rest, column = np.divmod(rest, shape[1])
    image, row = np.divmod(rest, shape[0])
    return image, row, column, unit
