"""Quantiles of activations in one streaming pass, exact in rank, in bounded memory."""

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..types import Bool, Float, Int


def flatten_positions(activations: Tensor) -> Tensor:
    """(n, units, ...) to (n, units, positions)."""
    return activations.flatten(2) if activations.ndim > 2 else activations.unsqueeze(2)


class Quantiles:
    """Quantiles of each unit over all images and positions, from counts in fixed buckets.

    A value's bucket is the leading 16 bits of its 32-bit float (sign, exponent, 7 bits of the
    fraction), so a quantile is exact in rank and off in value by less than 2^-7 of itself (and by
    less than 1e-38 about zero). Counts are whole numbers: merging is exact in any order.

    Who needs high quantiles only may raise a floor once a sample was seen. Values that do not
    exceed it are then counted together, in its bucket, many times faster; `is_exact` says whether a
    quantile is still exact in rank.

    Attributes:
        counts: (units, 65536) how many values fell in each bucket, in rising order of value.
        floor: (units,) the floor; empty where none was raised.
        lowest: (units,) the lowest value seen.
    """

    BITS = 16
    AT_ONCE = 2**18  # values

    def __init__(self) -> None:
        self.counts: Tensor = torch.empty(0, dtype=torch.int64)
        self.floor: Tensor = torch.empty(0)
        self.lowest: Tensor = torch.empty(0)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Take in one batch."""
        maps = flatten_positions(activations).float().cpu().numpy()
        if self.floor.numel():
            place = np.flatnonzero(maps > self.floor.numpy()[:, None])
            unit = place // maps.shape[2] % maps.shape[1]
            each, lowest = maps[:, 0].size, maps.min(2).min(0)
            self.update_above(unit, maps.reshape(-1).take(place), each, lowest)
            return
        self._see(maps.min(2).min(0))
        # A few units at a time: what is at work then stays in the cache.
        step = max(self.AT_ONCE // max(maps[:, 0].size, 1), 1)
        for first in range(0, maps.shape[1], step):
            keys = _buckets(maps[:, first : first + step].swapaxes(0, 1).copy())
            rows = np.arange(first, first + len(keys))[:, None, None] << self.BITS
            np.add.at(self.counts.numpy().reshape(-1), (keys + rows).reshape(-1), 1)

    def update_above(
        self,
        units: Int[np.ndarray, " k"],
        values: Float[np.ndarray, " k"],
        each: int,
        lowest: Float[np.ndarray, " units"],
    ) -> None:
        """Take in one batch by what lies above the floor.

        Args:
            units: the unit of each value above its floor.
            values: these values.
            each: how many values, high and low, each unit had.
            lowest: the lowest one of each unit.
        """
        self._see(lowest)
        counts, floor = self.counts.numpy(), self.floor.numpy()
        np.add.at(counts.reshape(-1), (units << self.BITS) + _buckets(values), 1)
        counts[np.arange(len(floor)), _buckets(floor)] += each - np.bincount(
            units, minlength=len(floor)
        )

    def _see(self, lowest: Float[np.ndarray, " units"]) -> None:
        seen = torch.from_numpy(lowest)
        self.lowest = torch.minimum(self.lowest, seen) if self.lowest.numel() else seen
        if not self.counts.numel():
            self.counts = torch.zeros(len(seen), 1 << self.BITS, dtype=torch.int64)

    def raise_floor(self, floor: Float[Tensor, " units"]) -> None:
        """From now on, count values that do not exceed the floor together, in its bucket."""
        self.floor = floor.cpu().float()

    def is_exact(self, fraction: float) -> Bool[Tensor, " units"]:
        """Say for which units `at` is exact in rank for all that was counted below a floor.

        It is where it lies above the floor, or where nothing lay below the floor's bucket.
        """
        found = self.at(fraction)
        if not self.floor.numel():
            return torch.ones_like(found, dtype=torch.bool)
        grounded = _buckets(self.lowest.numpy()) >= _buckets(self.floor.numpy())
        return (found > self.floor) | torch.from_numpy(grounded)

    def merge(self, other: "Quantiles") -> None:
        """Take in what another pass counted."""
        if not other.counts.numel():
            return
        self.counts = self.counts + other.counts if self.counts.numel() else other.counts.clone()
        self._see(other.lowest.numpy())
        if self.floor.numel() and other.floor.numel():
            self.floor = torch.maximum(self.floor, other.floor)
        elif other.floor.numel():
            self.floor = other.floor

    def at(self, fraction: float) -> Float[Tensor, " units"]:
        """Return, per unit, the upper end of the bucket that holds the quantile.

        At most 1 - fraction of the values lie above it, and more lie above the bucket below.

        Args:
            fraction: share of values at or below, in (0, 1); 0.995 for the top half percent.
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


def _buckets(values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """The leading 16 bits of 32-bit floats as whole numbers in [0, 2^16) of the same order."""
    leading = values.view(np.int32) >> 16
    # Negative floats fall as their bits rise: turn all but the sign about.
    leading ^= (leading >> 15) & 0x7FFF
    leading += 2**15
    return leading


def _upper_values(keys: Tensor) -> Tensor:
    raw = keys - 2**31
    bits = torch.where(raw >= 0, raw, (-1 - raw) | -(2**31))
    return bits.to(torch.int32).view(torch.float32)
