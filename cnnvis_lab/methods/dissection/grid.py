"""Where the positions of a layer lie among label pixels, and maps interpolated between them.

The pixels between four neighbouring positions form a cell. Beyond the outermost positions cells are
bounded by their repetition, so that a map goes on as its nearest edge.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Float, InputError, Int, receptive_field


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
    def _at(self) -> Float[np.ndarray, " pixels"]:
        """Each pixel in units of positions."""
        pixels = np.arange(self.length, dtype=np.float64)
        return (pixels - self.first) / self.step if self.count > 1 else 0 * pixels

    @cached_property
    def cell(self) -> Int[np.ndarray, " pixels"]:
        """The cell of each pixel, from 0; cell k ends with position k, which belongs to it."""
        return np.ceil(self._at).clip(0, self.count).astype(np.int64)

    @cached_property
    def share(self) -> Float[np.ndarray, " pixels"]:
        """How far each pixel is from its cell's second position to its first, in [0, 1]."""
        return (self.cell - self._at).clip(0, 1).astype(np.float32)

    @cached_property
    def start(self) -> Int[np.ndarray, " cells"]:
        """The first pixel of each cell."""
        return np.searchsorted(self.cell, np.arange(self.count + 1))

    @cached_property
    def shares(self) -> Float[np.ndarray, "widest cells"]:
        """The shares of each cell's pixels; NaN, which is above nothing, where it has fewer."""
        sizes = np.bincount(self.cell, minlength=self.count + 1)
        within = np.arange(sizes.max())[:, None]
        pixels = (self.start + within).clip(max=self.length - 1)
        return np.where(within < sizes, self.share[pixels], np.float32(math.nan))

    def corners(
        self, cells: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Return the two positions that bound cells."""
        return (cells - 1).clip(min=0), cells.clip(max=self.count - 1)


class Grid(NamedTuple):
    """The positions of a layer's maps among label pixels: rows and columns."""

    rows: Axis
    columns: Axis

    @property
    def cells(self) -> tuple[int, int]:
        """How many cells there are down and across."""
        return self.rows.count + 1, self.columns.count + 1


def downsampling_factor(picture: int, labels: int) -> float:
    """Return how many picture pixels there are to a label pixel.

    A whole number where the label map keeps every second, third, ... pixel (227 to 113 is 2).
    """
    whole = round(picture / labels)
    return whole if labels in (picture // whole, -(-picture // whole)) else picture / labels


def make_axis(
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
    fold = downsampling_factor(picture, labels)
    return Axis(math.floor((offset + size // 2) / fold), stride / fold, count, labels)


def make_grid(
    kind: str,
    positions: tuple[int, int],
    picture: tuple[int, int],
    labels: tuple[int, int],
    field: receptive_field.ReceptiveField | None = None,
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
        axes.append(make_axis(kind, positions[way], picture[way], labels[way], seen))
    return Grid(*axes)


def upsample(maps: Float[Tensor, "n units h w"], grid: Grid) -> Float[Tensor, "n units y x"]:
    """Interpolate whole maps to label pixels."""
    for way, along in ((-1, grid.columns), (-2, grid.rows)):
        low, high = (
            maps.index_select(way, torch.from_numpy(at).to(maps.device))
            for at in along.corners(along.cell)
        )
        share = torch.from_numpy(along.share).to(maps.device)
        share = share if way == -1 else share[:, None]
        maps = high + (low - high) * share
    return maps


def as_maps(activations: Tensor) -> Float[Tensor, "n units h w"]:
    """Take a layer without positions as maps of one position."""
    return activations if activations.ndim == 4 else activations.flatten(1)[:, :, None, None]


def units_last(maps: Float[Tensor, "n units h w"]) -> Float[np.ndarray, "n h w units"]:
    """Return maps with the units last; nothing is copied of a network run on channels-last."""
    return maps.permute(0, 2, 3, 1).contiguous().float().cpu().numpy()
