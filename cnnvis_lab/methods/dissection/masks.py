"""Masks of units, found sparsely: they have pixels only in cells with a corner above the threshold.

Those are about one in fifty; the others are never looked at. All of it runs in numpy and in one
thread, so that several layers can be looked at side by side. Units come last in memory, as networks
run on channels-last pictures leave them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...core import Float, Int
from .grid import Grid

CHUNK_PIXELS = 2**18  # pixels interpolated together: what stays in the cache


class ActiveCells(NamedTuple):
    """The cells of a batch that have a corner above some level.

    Attributes:
        place: (m,) flat index into (pictures, cells down, cells across, units).
        corners: (4, m) the map at top left, top right, bottom left, bottom right.
    """

    place: np.ndarray
    corners: np.ndarray


class ActivePixels(NamedTuple):
    """Pixels that belong to masks, and the cells they lie in.

    Attributes:
        plane: (cells,) flat index of each cell into (pictures, units).
        number: (cells,) how many of its pixels belong to the mask.
        cell: (pixels,) the cell of each such pixel.
        pixel: (pixels,) flat index into (pictures, label pixels).
    """

    plane: np.ndarray
    number: np.ndarray
    cell: np.ndarray
    pixel: np.ndarray


def cells_above(
    maps: Float[np.ndarray, "n h w units"], level: Float[np.ndarray, " units"]
) -> ActiveCells:
    """Return the cells with a corner above each unit's level."""
    pictures, height, width, units = maps.shape
    over = np.empty((pictures, height + 2, width + 2, units), dtype=bool)
    np.greater(maps, level, out=over[:, 1:-1, 1:-1])
    over[:, 1:-1, 0], over[:, 1:-1, -1] = over[:, 1:-1, 1], over[:, 1:-1, -2]
    over[:, 0], over[:, -1] = over[:, 1], over[:, -2]
    down = over[:, :-1] | over[:, 1:]
    place = np.flatnonzero(down[:, :, :-1] | down[:, :, 1:])
    picture, row, column, unit = _unravel(place, (height + 1, width + 1, units))
    flat, first = maps.reshape(-1), picture * height
    rows = [(first + y) * width for y in ((row - 1).clip(min=0), row.clip(max=height - 1))]
    columns = [(column - 1).clip(min=0), column.clip(max=width - 1)]
    corners = [flat.take((y + x) * units + unit) for y in rows for x in columns]
    return ActiveCells(place, np.stack(corners))


def values_above(
    cells: ActiveCells, grid: Grid, level: Float[np.ndarray, " units"]
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return units and values of all positions above the level: each is one cell's last corner."""
    _, row, column, unit = _unravel(cells.place, (*grid.cells, len(level)))
    own = (row < grid.rows.count) & (column < grid.columns.count)
    chosen = np.flatnonzero(own & (cells.corners[3] > level.take(unit)))
    return unit.take(chosen), cells.corners[3].take(chosen)


def active_pixels(
    cells: ActiveCells, grid: Grid, thresholds: Float[np.ndarray, " units"], *, binary: bool = False
) -> Iterator[ActivePixels]:
    """Yield the pixels of masks, so many at a time that memory stays small.

    Args:
        cells: all cells with a corner above its unit's threshold; others do no harm.
        grid: where the positions lie.
        thresholds: per unit; a pixel belongs to the mask where the map is strictly above.
        binary: threshold first and interpolate zeros and ones, of which the mask is what lies
            above one half (Net2Vec).
    """
    height, width = grid.rows.length, grid.columns.length
    tall, wide = len(grid.rows.shares), len(grid.columns.shares)
    within = (np.arange(tall)[:, None] * width + np.arange(wide)).ravel()
    level = thresholds.take(cells.place % len(thresholds))
    highest = np.maximum(*np.maximum(cells.corners[:2], cells.corners[2:]))
    chosen, step = np.flatnonzero(highest > level), max(CHUNK_PIXELS // len(within), 1)
    for part in np.split(chosen, range(step, len(chosen), step)):
        shape = (*grid.cells, len(thresholds))
        picture, row, column, unit = _unravel(cells.place.take(part), shape)
        corners, threshold = cells.corners.take(part, axis=1), level.take(part)
        if binary:
            corners, threshold = (corners > threshold).astype(np.float32), np.float32(0.5)
        # The cells run along the last dimension, where they are many: everything else is short.
        across = grid.columns.shares.take(column, axis=1)
        top = corners[1] + (corners[0] - corners[1]) * across
        bottom = corners[3] + (corners[2] - corners[3]) * across
        down = grid.rows.shares.take(row, axis=1)[:, None]
        on = (bottom + (top - bottom) * down > threshold).reshape(len(within), -1)
        first = (picture * height + grid.rows.start.take(row)) * width
        first += grid.columns.start.take(column)
        inside, cell = np.divmod(np.flatnonzero(on), max(len(part), 1))
        plane = picture * len(thresholds) + unit
        yield ActivePixels(plane, on.sum(0), cell, first.take(cell) + within.take(inside))


def _unravel(
    place: Int[np.ndarray, " m"], shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Split flat indices into (picture, row, column, unit)."""
    rest, unit = np.divmod(place, shape[2])
    rest, column = np.divmod(rest, shape[1])
    picture, row = np.divmod(rest, shape[0])
    return picture, row, column, unit
