"""Positions of a layer's feature map in label pixels, and interpolation between them.

The pixels between four neighboring positions form a cell. Beyond the outermost positions, cells are
bounded by copies of these positions, so that a map continues with its edge values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Float, Int
from ...core.receptive_field import ReceptiveField


@dataclass(frozen=True)
class Axis:
    """Positions of a map along one direction, in label pixels.

    Attributes:
        origin: (fractional) label pixel of position 0.
        step: label pixels from one position to the next.
        count: number of positions.
        length: number of label pixels.
    """

    origin: float
    step: float
    count: int
    length: int

    @cached_property
    def _coordinates(self) -> Float[np.ndarray, " pixels"]:
        """Return the coordinate of each pixel, in units of positions."""
        pixels = np.arange(self.length, dtype=np.float64)
        return (pixels - self.origin) / self.step if self.count > 1 else 0 * pixels

    @cached_property
    def cell(self) -> Int[np.ndarray, " pixels"]:
        """The cell of each pixel, from 0; cell k ends with position k, which belongs to it."""
        return np.ceil(self._coordinates).clip(0, self.count).astype(np.int64)

    @cached_property
    def weight(self) -> Float[np.ndarray, " pixels"]:
        """The interpolation weight, at each pixel, of the first position of its cell."""
        return (self.cell - self._coordinates).clip(0, 1).astype(np.float32)

    @cached_property
    def cell_start(self) -> Int[np.ndarray, " cells"]:
        """The first pixel of each cell."""
        return np.searchsorted(self.cell, np.arange(self.count + 1))

    @cached_property
    def cell_weights(self) -> Float[np.ndarray, "widest cells"]:
        """The weights of each cell's pixels, padded with NaN, which exceeds no threshold."""
        sizes = np.bincount(self.cell, minlength=self.count + 1)
        offsets = np.arange(sizes.max())[:, None]
        pixels = (self.cell_start + offsets).clip(max=self.length - 1)
        return np.where(offsets < sizes, self.weight[pixels], np.float32(math.nan))

    def corners(
        self, cells: Int[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Return the two positions that bound each of the cells."""
        return (cells - 1).clip(min=0), cells.clip(max=self.count - 1)


class Grid(NamedTuple):
    """The positions of a layer's maps in label pixels: rows and columns."""

    rows: Axis
    columns: Axis

    @property
    def cells(self) -> tuple[int, int]:
        """The number of cells down and across."""
        return self.rows.count + 1, self.columns.count + 1


def _downsampling_factor(image: int, labels: int) -> float:
    """Return the number of image pixels per label pixel.

    It is an integer if the label map contains every second, third, ... pixel (2 for 227 to 113),
    and less than 1 if it has more pixels than the image.
    """
    whole = max(round(image / labels), 1)
    return whole if labels in (image // whole, -(-image // whole)) else image / labels


def make_axis(
    kind: str, count: int, image: int, labels: int, field: tuple[int, int, int] | None
) -> Axis:
    """Return where the positions of a map lie in label pixels, by one of the published conventions.

    Args:
        kind: "fields": at the center of the receptive field, rounded down to a label pixel, as in
            NetDissect; "exact fields": the same without rounding, with the corners of image and
            label map aligned; "pixels": the map is stretched over the image, with positions as
            areas (`align_corners=False`); "corners": the outermost positions lie on the outermost
            pixels (`align_corners=True`).
        count: number of positions of the map.
        image: size of the image, in pixels.
        labels: size of the label map, in pixels.
        field: size, stride and offset of the receptive field, for the first two kinds; without it,
            or if all positions depend on the whole image, they are those of "pixels".
    """
    if count == 1:
        return Axis(0.0, 1.0, count, labels)
    if kind == "pixels" or ("fields" in kind and not (field and field[1])):
        return Axis(labels / count / 2 - 0.5, labels / count, count, labels)
    if kind == "corners":
        return Axis(0.0, (labels - 1) / (count - 1), count, labels)
    assert field is not None
    size, stride, offset = field
    if kind == "exact fields":
        scale = (labels - 1) / max(image - 1, 1)
        return Axis((offset + (size - 1) / 2) * scale, stride * scale, count, labels)
    factor = _downsampling_factor(image, labels)
    return Axis(math.floor((offset + size // 2) / factor), stride / factor, count, labels)


def make_grid(
    kind: str,
    positions: Sequence[int],
    image: Sequence[int],
    labels: Sequence[int],
    field: ReceptiveField | None = None,
) -> Grid:
    """Return where the positions of a map lie in label pixels; see `make_axis`.

    Args:
        kind: the convention, see `make_axis`.
        positions: height and width of the map.
        image: height and width of the image, in pixels.
        labels: height and width of the label map, in pixels.
        field: the layer's receptive field.
    """
    fields = (
        [None, None]
        if field is None
        else list(zip(field.size, field.stride, field.offset, strict=True))
    )
    return Grid(*map(make_axis, (kind, kind), positions, image, labels, fields))


def upsample(maps: Float[Tensor, "n units h w"], grid: Grid) -> Float[Tensor, "n units y x"]:
    """Interpolate dense maps to label pixels."""
    for dimension, axis in ((-1, grid.columns), (-2, grid.rows)):
        low, high = (
            maps.index_select(dimension, torch.from_numpy(position).to(maps.device))
            for position in axis.corners(axis.cell)
        )
        weight = torch.from_numpy(axis.weight).to(maps.device)
        weight = weight if dimension == -1 else weight[:, None]
        maps = high + (low - high) * weight
    return maps


def as_maps(activations: Tensor) -> Float[Tensor, "n units h w"]:
    """Return activations as maps; those without spatial positions become maps of one position."""
    return activations if activations.ndim == 4 else activations.flatten(1)[:, :, None, None]


def units_last(maps: Float[Tensor, "n units h w"]) -> Float[np.ndarray, "n h w units"]:
    """Return maps with the units last; channels-last maps are not copied."""
    return maps.permute(0, 2, 3, 1).contiguous().float().cpu().numpy()
