"""Masks of units on the grid of label pixels, dense for the eye and sparse for counting.

A unit's map is interpolated bilinearly between its positions. The pixels between four neighbouring
positions form a cell; beyond the outermost positions a cell is bounded by their repetition, so that
the map goes on as its nearest edge. A mask has pixels only in cells with a corner above the
threshold, which is about one in fifty: the others are never looked at.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import InputError
from ..core.quantiles import true_places
from ..core.receptive import ReceptiveField
from ..core.shapes import Float, Int

AT_ONCE = 2**20  # pixels of cells interpolated together


@dataclass(frozen=True)
class Axis:
    """Where the positions of a map lie among label pixels, along one direction.

    Attributes:
        first: label pixel, in fractions, on which position 0 lies.
        step: label pixels from one position to the next.
        count: positions.
        length: label pixels.
    """

    first: float
    step: float
    count: int
    length: int

    @cached_property
    def _at(self) -> Float[Tensor, " pixels"]:
        """Each pixel in units of positions."""
        pixels = torch.arange(self.length, dtype=torch.float64)
        return (pixels - self.first) / self.step if self.count > 1 else torch.zeros_like(pixels)

    @cached_property
    def cell(self) -> Int[Tensor, " pixels"]:
        """The cell of each pixel, from 0; cell k ends with position k, which belongs to it."""
        return self._at.ceil().clamp(0, self.count).long()

    @cached_property
    def share(self) -> Float[Tensor, " pixels"]:
        """How far each pixel is from its cell's second position to its first, in [0, 1]."""
        return (self.cell - self._at).clamp(0, 1).float()

    @cached_property
    def start(self) -> Int[Tensor, " cells"]:
        """The first pixel of each cell."""
        return torch.searchsorted(self.cell, torch.arange(self.count + 1))

    @cached_property
    def shares(self) -> Float[Tensor, "widest cells"]:
        """The shares of each cell's pixels; NaN, which is above nothing, where it has fewer."""
        sizes = self.cell.bincount(minlength=self.count + 1)
        within = torch.arange(int(sizes.max()))[:, None]
        pixels = (self.start + within).clamp(max=self.length - 1)
        return self.share[pixels].masked_fill(within >= sizes, math.nan)

    def corners(self, cells: Int[Tensor, " n"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Return the two positions that bound cells."""
        return (cells - 1).clamp(min=0), cells.clamp(max=self.count - 1)


class Grid(NamedTuple):
    """The positions of a layer's maps among label pixels: rows and columns."""

    rows: Axis
    columns: Axis

    @property
    def cells(self) -> tuple[int, int]:
        """How many cells there are down and across."""
        return self.rows.count + 1, self.columns.count + 1


class Cells(NamedTuple):
    """The cells of a batch that have a corner above some level.

    Attributes:
        place: (m,) flat index into (pictures, units, cells down, cells across).
        corners: (4, m) the map at top left, top right, bottom left, bottom right.
    """

    place: Tensor
    corners: Tensor


class Active(NamedTuple):
    """Pixels that belong to masks, and the cells they lie in.

    Attributes:
        picture: (cells,) number of each cell's picture within the batch.
        unit: (cells,) its unit.
        number: (cells,) how many of its pixels belong to the mask.
        cell: (pixels,) the cell of each such pixel.
        pixel: (pixels,) flat index into (pictures, label pixels).
    """

    picture: Tensor
    unit: Tensor
    number: Tensor
    cell: Tensor
    pixel: Tensor


def reduction(picture: int, labels: int) -> float:
    """Return how many picture pixels there are to a label pixel.

    A whole number where the label map keeps every second, third, ... pixel (227 to 113 is 2).
    """
    whole = round(picture / labels)
    return whole if labels in (picture // whole, -(-picture // whole)) else picture / labels


def axis(
    kind: str, count: int, picture: int, labels: int, field: tuple[int, int, int] | None
) -> Axis:
    """Return where positions lie, by one of the conventions in use.

    Args:
        kind: "fields", at the middle of the receptive field, rounded down to a label pixel, as
            NetDissect does; "exact fields", the same without rounding and with the corners of
            picture and label map on each other; "pixels", the map stretched over the picture, its
            positions areas (`align_corners=False`); "corners", its outermost positions on the
            outermost pixels (`align_corners=True`).
        count: positions of the map.
        picture: side of the picture in pixels.
        labels: side of the label map in pixels.
        field: size, stride and offset of the receptive field, for the two that need it.
    """
    if count == 1:
        return Axis(0.0, 1.0, count, labels)
    if kind == "pixels":
        return Axis(labels / count / 2 - 0.5, labels / count, count, labels)
    if kind == "corners":
        return Axis(0.0, (labels - 1) / (count - 1), count, labels)
    size, stride, offset = field
    if kind == "exact fields":
        scale = (labels - 1) / max(picture - 1, 1)
        return Axis((offset + (size - 1) / 2) * scale, stride * scale, count, labels)
    fold = reduction(picture, labels)
    return Axis(math.floor((offset + size // 2) / fold), stride / fold, count, labels)


def grid(
    kind: str,
    positions: tuple[int, int],
    picture: tuple[int, int],
    labels: tuple[int, int],
    field: ReceptiveField | None = None,
) -> Grid:
    """Return where the positions of a map lie among label pixels; see `axis`.

    Raises:
        InputError: positions that all see the same, so that they lie nowhere.
    """
    axes = []
    for way in range(2):
        seen = field and (field.size[way], field.stride[way], field.offset[way])
        if "fields" in kind and positions[way] > 1 and not (seen and seen[1]):
            raise InputError("positions that all see the whole picture have no place in it")
        axes.append(axis(kind, positions[way], picture[way], labels[way], seen))
    return Grid(*axes)


def upsample(maps: Float[Tensor, "n units h w"], grid: Grid) -> Float[Tensor, "n units y x"]:
    """Interpolate whole maps to label pixels."""
    for way, along in ((-1, grid.columns), (-2, grid.rows)):
        low, high = (maps.index_select(way, at) for at in along.corners(along.cell))
        share = along.share if way == -1 else along.share[:, None]
        maps = high + (low - high) * share
    return maps


def as_maps(activations: Tensor) -> Float[Tensor, "n units h w"]:
    """Take a layer without positions as maps of one position; a unit's positions lie together."""
    maps = activations if activations.ndim == 4 else activations.flatten(1)[:, :, None, None]
    return maps.contiguous()


def cells_above(maps: Float[Tensor, "n units h w"], level: Float[Tensor, " units"]) -> Cells:
    """Return the cells with a corner above each unit's level."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    over = padded > level.to(maps.device)[:, None, None]
    over = over[..., :-1, :] | over[..., 1:, :]
    any_corner = over.new_empty(*over.shape[:-1], over.shape[-1] - 1)
    torch.logical_or(over[..., :-1], over[..., 1:], out=any_corner)
    place, (height, width) = true_places(any_corner), padded.shape[-2:]
    plane, row, column = _unravel(place, (height - 1, width - 1))
    first, flat = (plane * height + row) * width + column, padded.view(-1)
    corners = [flat.index_select(0, first + step) for step in (0, 1, width, width + 1)]
    return Cells(place.cpu(), torch.stack(corners).cpu())


def active(
    cells: Cells, grid: Grid, thresholds: Float[Tensor, " units"], *, binary: bool = False
) -> Iterator[Active]:
    """Yield the pixels of masks, so many at a time that memory stays small.

    Args:
        cells: all cells with a corner above its unit's threshold; others do no harm.
        grid: where the positions lie.
        thresholds: per unit; a pixel belongs to the mask where the map is strictly above.
        binary: threshold first and interpolate zeros and ones, of which the mask is what lies
            above one half (Net2Vec).
    """
    units, (height, width) = len(thresholds), (grid.rows.length, grid.columns.length)
    tall, wide = len(grid.rows.shares), len(grid.columns.shares)
    within = (torch.arange(tall)[:, None] * width + torch.arange(wide)).flatten()
    level = thresholds.index_select(0, cells.place // math.prod(grid.cells) % units)
    highest = torch.maximum(*torch.maximum(*cells.corners.view(2, 2, -1)))
    for part in (highest > level).nonzero()[:, 0].split(max(AT_ONCE // len(within), 1)):
        plane, row, column = _unravel(cells.place[part], grid.cells)
        corners, threshold = cells.corners.index_select(1, part), level[part]
        if binary:
            corners, threshold = (corners > threshold).float(), torch.full_like(threshold, 0.5)
        # The cells run along the last dimension, where they are many: everything else is short.
        across = grid.columns.shares.index_select(1, column)
        top = corners[1] + (corners[0] - corners[1]) * across
        bottom = corners[3] + (corners[2] - corners[3]) * across
        down = grid.rows.shares.index_select(1, row)[:, None]
        on = (bottom + (top - bottom) * down).flatten(0, 1) > threshold
        place, picture = true_places(on), plane // units
        first = picture * height * width + grid.rows.start[row] * width + grid.columns.start[column]
        cell = place % len(part)
        pixel = first.index_select(0, cell) + within.index_select(0, place // len(part))
        yield Active(picture, plane % units, on.sum(0), cell, pixel)


def _unravel(place: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Split flat indices into (plane, row, column)."""
    rest = place // shape[1]
    return rest // shape[0], rest % shape[0], place % shape[1]
