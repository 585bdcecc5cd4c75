"""Quantiles of activations in one streaming pass, exact in rank, in bounded memory."""

import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .shapes import Bool, Float, Int


def by_unit(activations: Tensor) -> Tensor:
    """(n, units, ...) to (n, units, positions)."""
    return activations.flatten(2) if activations.ndim > 2 else activations.unsqueeze(2)


class Quantiles:
    """Quantiles of each unit over all images and positions, from counts in fixed buckets.

    A value's bucket is the leading 16 bits of its 32-bit float (sign, exponent, 7 bits of the
    fraction), so a quantile is exact in rank and off in value by less than 2^-7 of itself (and by
    less than 1e-38 about zero). Counts are whole numbers: merging is exact in any order.

    Who needs high quantiles only may raise a floor once a sample was seen. Values that do not
    exceed it are then counted together, in its bucket, many times faster; `sound` says whether a
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
        maps = by_unit(activations).float().contiguous()
        self._see(maps.amin(2).amin(0).cpu())
        if not self.counts.numel():
            shape = (maps.shape[1], 1 << self.BITS)
            self.counts = torch.zeros(shape, dtype=torch.int64, device=maps.device)
        if self.floor.numel():
            self._count_above(maps)
            return
        # A few units at a time and in place: what is at work then stays in the cache.
        step = max(self.AT_ONCE // max(maps[:, 0].numel(), 1), 1)
        for first in range(0, maps.shape[1], step):
            self._count(maps[:, first : first + step], self.counts[first : first + step])

    def _see(self, lowest: Tensor) -> None:
        self.lowest = torch.minimum(self.lowest, lowest) if self.lowest.numel() else lowest

    def _count(self, maps: Tensor, counts: Tensor) -> None:
        keys = _buckets(maps.transpose(0, 1).flatten(1).contiguous())
        rows = torch.arange(len(keys), device=keys.device).unsqueeze(1) << self.BITS
        flat = (keys + rows).flatten()
        counts.view(-1).scatter_add_(0, flat, rows.new_ones(1).expand_as(flat))

    def _count_above(self, maps: Tensor) -> None:
        floor, (images, units, positions) = self.floor.to(maps.device), maps.shape
        place = true_places(maps > floor.unsqueeze(1))
        unit = place // positions % units
        keys = _buckets(maps.view(-1).index_select(0, place)) + (unit << self.BITS)
        self.counts.view(-1).scatter_add_(0, keys, keys.new_ones(1).expand_as(keys))
        rest = images * positions - torch.bincount(unit, minlength=units)
        self.counts.scatter_add_(1, _buckets(floor).long().unsqueeze(1), rest.unsqueeze(1))

    def raise_floor(self, floor: Float[Tensor, " units"]) -> None:
        """From now on, count values that do not exceed the floor together, in its bucket."""
        self.floor = floor.cpu().float()

    def sound(self, fraction: float) -> Bool[Tensor, " units"]:
        """Say for which units `at` is exact in rank for all that was counted below a floor.

        It is where it lies above the floor, or where nothing lay below the floor's bucket.
        """
        found = self.at(fraction)
        if not self.floor.numel():
            return torch.ones_like(found, dtype=torch.bool)
        return (found > self.floor) | (_buckets(self.lowest) >= _buckets(self.floor))

    def merge(self, other: "Quantiles") -> None:
        """Take in what another pass counted."""
        if not other.counts.numel():
            return
        counts = other.counts.to(self.counts.device)
        self.counts = self.counts + counts if self.counts.numel() else other.counts.clone()
        self._see(other.lowest)
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
        in_block = blocks.sum(2).cpu()
        up_to = in_block.cumsum(1)
        rank = fraction * up_to[:, -1:].double()
        block = (up_to < rank).sum(1, keepdim=True)
        before = (up_to - in_block).gather(1, block)
        inside = blocks[torch.arange(len(blocks)), block[:, 0].to(blocks.device)].cpu()
        bucket = (block << 7)[:, 0] + (before + inside.cumsum(1) < rank).sum(1)
        return _values_of(((bucket + 1) << (32 - self.BITS)) - 1)

    def state(self) -> dict[str, Tensor]:
        """Return counts, floor and lowest values."""
        return {"counts": self.counts.cpu(), "floor": self.floor, "lowest": self.lowest}


def true_places(mask: Tensor) -> Int[Tensor, " n"]:
    """Return the flat indices of what is true, rising; numpy is the faster one on a CPU."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero()[:, 0]


def _buckets(values: Tensor) -> Tensor:
    """The leading 16 bits of 32-bit floats as whole numbers in [0, 2^16) of the same order."""
    leading = values.view(torch.int32) >> 16
    # Negative floats fall as their bits rise: turn all but the sign about.
    turned = (leading >> 15).bitwise_and_(0x7FFF)
    return leading.bitwise_xor_(turned).add_(2**15)


def _values_of(keys: Tensor) -> Tensor:
    raw = keys - 2**31
    bits = torch.where(raw >= 0, raw, (-1 - raw) | -(2**31))
    return bits.to(torch.int32).view(torch.float32)
