"""Statistics of activations over a dataset in one streaming pass with bounded memory.

`TopK` and `Quantiles` can be merged, in any order: a pass split into shards gives the same bytes as
one pass.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .. import hooks
from ..errors import InputError
from ..types import Float, Int
from .quantiles import flatten_positions


@runtime_checkable
class Accumulator(Protocol):
    """Collects statistics of a layer's activations."""

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add activations (n, units) or (n, units, h, w) of the images with indices (n,)."""


class TopK:
    """The k images that activate each unit most, ranked by the maximum of the unit's map.

    Equal values are ordered by image index, so that shards can be merged in any order.

    Attributes:
        values: (units, k) activations, descending; fewer columns if fewer images were seen.
        images: (units, k) indices of the images.
        positions: (units, k, 2) row and column of the maximum in the map.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise InputError(f"top {k}: expected at least 1")
        self.k = k
        self.values: Tensor = torch.empty(0)
        self.images: Tensor = torch.empty(0, dtype=torch.int64)
        self.positions: Tensor = torch.empty(0, dtype=torch.int64)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add one batch."""
        maps = flatten_positions(activations)
        values = maps.amax(dim=2)
        # The position of the maximum is computed only for candidates for the top k.
        flat = torch.zeros_like(values, dtype=torch.int64)
        candidates = self._candidates(values)
        flat[candidates] = maps[candidates].argmax(dim=1)
        width = activations.shape[-1] if activations.ndim > 2 else 1
        positions = torch.stack([flat // width, flat % width], dim=-1)
        indices = images.to(values.device).unsqueeze(1).expand_as(values)
        self._add(values.T, indices.T, positions.transpose(0, 1))

    def _candidates(self, values: Tensor) -> Tensor:
        """Return which of (n, units) values may belong to the top k seen so far."""
        least = values.topk(min(self.k, len(values)), dim=0).values[-1]
        if self.values.shape[-1:] == (self.k,):
            least = torch.maximum(least, self.values[:, -1].to(least))
        return values >= least

    def merge(self, other: "TopK") -> None:
        """Add what another pass has collected."""
        if other.values.numel():
            self._add(other.values, other.images, other.positions)

    def _add(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        values, images, positions = (part.cpu() for part in (values, images, positions))
        if self.values.numel():
            values = torch.cat([self.values, values], 1)
            images = torch.cat([self.images, images], 1)
            positions = torch.cat([self.positions, positions], 1)
        # Two stable sorts: by image index, then by descending value.
        order = images.argsort(dim=1, stable=True)
        order = order.gather(
            1, values.gather(1, order).argsort(dim=1, descending=True, stable=True)
        )
        order = order[:, : self.k]
        self.values, self.images = values.gather(1, order), images.gather(1, order)
        self.positions = positions.gather(1, order.unsqueeze(2).expand(-1, -1, 2))

    def state(self) -> dict[str, Tensor]:
        """Return values, images and positions."""
        return {"values": self.values, "images": self.images, "positions": self.positions}


class FiringRate:
    """The fraction of images on which each unit is active anywhere.

    Attributes:
        active: (units,) number of images on which each unit is active.
        seen: number of images.
    """

    def __init__(self) -> None:
        self.active, self.seen = torch.tensor(0), 0

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Add one batch."""
        active = flatten_positions(activations).amax(2) > 0
        self.active, self.seen = self.active + active.sum(0).cpu(), self.seen + len(active)

    def fractions(self) -> Float[Tensor, " units"]:
        """Return the fraction of the images on which each unit is active."""
        return self.active / max(self.seen, 1)


@torch.no_grad()
def tally(
    model: nn.Module,
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    accumulators: Mapping[str, Sequence[Accumulator]],
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Run a dataset through a network once and feed every accumulator.

    Args:
        model: any network.
        batches: (indices of the images, images) pairs.
        accumulators: layer -> the accumulators of its activations.
        on_progress: called with the number of images seen so far.

    Raises:
        InputError: an activation is NaN.
    """
    seen = 0
    for indices, images in batches:
        visitors = {layer: _feeder(layer, own, indices) for layer, own in accumulators.items()}
        hooks.visit(model, images, visitors)
        seen += len(indices)
        if on_progress:
            on_progress(seen)


def _feeder(
    layer: str, accumulators: Sequence[Accumulator], indices: Tensor
) -> Callable[[Tensor], None]:
    def feed(activations: Tensor) -> None:
        if torch.isnan(activations.amax()):  # the maximum propagates NaN
            raise InputError(f"layer {layer!r} returned NaN on images {indices.tolist()[:3]}...")
        for accumulator in accumulators:
            accumulator.update(activations, indices)

    return feed
