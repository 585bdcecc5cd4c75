"""Streaming quantiles of activations, exact in rank, in bounded memory."""

from mmap import ACCESS_COPY, mmap

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..types import Bool, Float, Int


def flatten_positions(activations: Tensor) -> Tensor:
    """Reshape (n, units, ...) to (n, units, positions)."""
    return activations.flatten(2) if activations.ndim > 2 else activations.unsqueeze(2)


class Quantiles:
    """Quantiles of each unit over all images and positions, from counts in fixed buckets.

    A value's bucket is the leading 16 bits of its 32-bit float (sign, exponent, 7 bits of the
    fraction), so a quantile is exact in rank, with a relative error in value below 2^-7 (and an
    absolute error below 1e-38 near zero). Counts are integers: merging is exact in any order.

    If only high quantiles are needed, a floor can be set after a sample of the data. Values up to
    the floor are then counted together, in its bucket, which is many times faster; `is_exact`
    returns whether a quantile is still exact in rank.

    Attributes:
        counts: (units, 65536) number of values in each bucket, in ascending order of value.
        floor: (units,) the floor; empty if none was set.
        lowest: (units,) the lowest value seen.
    """

    BITS = 16
    CHUNK = 2**18  # values

    def __init__(self) -> None:
        self.counts: Tensor = torch.empty(0, dtype=torch.int64)
        self.floor: Tensor = torch.empty(0)
        self.lowest: Tensor = torch.empty(0)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add one batch."""
        maps = flatten_positions(activations).float().cpu().numpy()
        if self.floor.numel():
            place = np.flatnonzero(maps > self.floor.numpy()[:, None])
            unit = place // maps.shape[2] % maps.shape[1]
            above = maps.reshape(-1).take(place)
            self.update_above(unit, above, maps[:, 0].size, maps.min(2).min(0))
            return
        self._see(maps.min(2).min(0))
        # A few units at a time, so that the working set stays in the cache.
        step = max(self.CHUNK // max(maps[:, 0].size, 1), 1)
        for first in range(0, maps.shape[1], step):
            keys = _buckets(maps[:, first : first + step].swapaxes(0, 1).copy())
            rows = np.arange(first, first + len(keys))[:, None, None] << self.BITS
            np.add.at(self.counts.numpy().reshape(-1), (keys + rows).reshape(-1), 1)

    def update_above(
        self,
        units: Int[np.ndarray, " k"],
        values: Float[np.ndarray, " k"],
        values_per_unit: int,
        lowest: Float[np.ndarray, " units"],
    ) -> None:
        """Add one batch, given only the values above the floor.

        Args:
            units: the unit of each value above the unit's floor.
            values: these values.
            values_per_unit: number of values of each unit, above the floor or not.
            lowest: the lowest value of each unit.
        """
        self._see(lowest)
        counts, floor = self.counts.numpy(), self.floor.numpy()
        np.add.at(counts.reshape(-1), (units << self.BITS) + _buckets(values), 1)
        counts[np.arange(len(floor)), _buckets(floor)] += values_per_unit - np.bincount(
            units, minlength=len(floor)
        )

    def _see(self, lowest: Float[np.ndarray, " units"]) -> None:
        seen = torch.from_numpy(lowest)
        self.lowest = torch.minimum(self.lowest, seen) if self.lowest.numel() else seen
        if not self.counts.numel():
            self.counts = _zeros(len(seen), 1 << self.BITS)

    def raise_floor(self, floor: Float[Tensor, " units"]) -> None:
        """Set a floor: from now on, all values up to it are counted together, in its bucket."""
        self.floor = floor.cpu().float()

    def is_exact(self, fraction: float) -> Bool[Tensor, " units"]:
        """Return for which units `at` is exact in rank despite a floor.

        This holds if the quantile lies above the floor, or if no value lies below the floor's
        bucket.
        """
        quantile = self.at(fraction)
        if not self.floor.numel():
            return torch.ones_like(quantile, dtype=torch.bool)
        grounded = _buckets(self.lowest.numpy()) >= _buckets(self.floor.numpy())
        return (quantile > self.floor) | torch.from_numpy(grounded)

    def merge(self, other: "Quantiles") -> None:
        """Add what another pass has counted."""
        self.merge_filled(**other.filled())

    def filled(self) -> dict[str, Tensor]:
        """Return the state without its empty buckets, which are almost all."""
        counts = self.counts.flatten()
        places = counts.nonzero()[:, 0]
        return {
            "places": places,
            "counted": counts[places],
            "floor": self.floor,
            "lowest": self.lowest,
        }

    def merge_filled(
        self,
        places: Int[Tensor, " k"],
        counted: Int[Tensor, " k"],
        floor: Float[Tensor, "..."],
        lowest: Float[Tensor, "..."],
    ) -> None:
        """Add what `filled` of another pass returned.

        Args:
            places: places of the buckets among those of all units.
            counted: number of values in each.
            floor: (units,) the floor; empty if none was set.
            lowest: (units,) the lowest value seen; empty if there was none.
        """
        if not lowest.numel():
            return
        self._see(lowest.numpy())
        self.counts.view(-1).index_add_(0, places, counted)
        if floor.numel():
            self.floor = torch.maximum(self.floor, floor) if self.floor.numel() else floor

    def at(self, fraction: float) -> Float[Tensor, " units"]:
        """Return, per unit, the upper end of the bucket that contains the quantile.

        At most a fraction 1 - `fraction` of the values lies above it, and more than that above the
        next lower bucket.

        Args:
            fraction: fraction of the values at or below it, in (0, 1); 0.995 for the top half
                percent.
        """
        if not 0 < fraction < 1 or not self.counts.numel():
            raise InputError(f"quantile {fraction}: expected within (0, 1), after an update")
        blocks = self.counts.view(len(self.counts), -1, 2**7)
        in_block = blocks.sum(2)
        up_to = in_block.cumsum(1)
        rank = fraction * up_to[:, -1:].double()
        block = (up_to < rank).sum(1, keepdim=True)
        before = (up_to - in_block).gather(1, block)
        inside = blocks[torch.arange(len(blocks)), block[:, 0]]
        bucket = (block << 7)[:, 0] + (before + inside.cumsum(1) < rank).sum(1)
        return _upper_values(((bucket + 1) << (32 - self.BITS)) - 1)

    def state(self) -> dict[str, Tensor]:
        """Return counts, floor and lowest values."""
        return {"counts": self.counts, "floor": self.floor, "lowest": self.lowest}


def _zeros(rows: int, columns: int) -> Int[Tensor, "rows columns"]:
    """Return zeros in pages that take no memory until something is written to them.

    Thousands of units have half a megabyte of buckets each, of which few values fill few.
    """
    pages = mmap(-1, rows * columns * 8, access=ACCESS_COPY)
    return torch.from_numpy(np.ndarray((rows, columns), np.int64, pages))


def _buckets(values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Return the leading 16 bits of 32-bit floats, as integers in [0, 2^16) in the same order."""
    leading = values.view(np.int32) >> 16
    # Negative floats decrease as their bits increase: invert all bits except the sign.
    leading ^= (leading >> 15) & 0x7FFF
    leading += 2**15
    return leading


def _upper_values(keys: Tensor) -> Tensor:
    raw = keys - 2**31
    bits = torch.where(raw >= 0, raw, (-1 - raw) | -(2**31))
    return bits.to(torch.int32).view(torch.float32)
