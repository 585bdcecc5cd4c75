"""Statistics over a data set in one streaming pass with bounded memory.

Every accumulator merges with others of its kind, and the result does not depend on the order: a
pass cut into shards gives the same bytes as one pass, whoever finishes first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import hooks
from ..errors import FileError, InputError
from ..files import replace_atomically
from ..types import Float, Int
from .quantiles import flatten_positions


@runtime_checkable
class Accumulator(Protocol):
    """What `tally` feeds: activations with the numbers of the images they belong to."""

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Take in activations (n, units) or (n, units, h, w) of images numbered (n,)."""

    def state(self) -> dict[str, Tensor]:
        """Return everything that has been gathered."""


class TopK:
    """Exactly the k images that excite each unit most, each by its strongest position.

    Equal values are ordered by image number, so that shards merge alike in any order.

    Attributes:
        values: (units, k) activations, falling; -inf where fewer images were seen.
        images: (units, k) numbers of the images; -1 where none.
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
        """Take in one batch."""
        maps = flatten_positions(activations)
        values = maps.amax(dim=2)
        # Where in its map a maximum lies is looked up only for those that come among the first k.
        flat = torch.zeros_like(values, dtype=torch.int64)
        hopeful = self._hopeful(values)
        flat[hopeful] = maps[hopeful].argmax(dim=1)
        width = activations.shape[-1] if activations.ndim > 2 else 1
        positions = torch.stack([flat // width, flat % width], dim=-1)
        numbers = images.to(values.device).unsqueeze(1).expand_as(values)
        self._take(values.T, numbers.T, positions.transpose(0, 1))

    def _hopeful(self, values: Tensor) -> Tensor:
        """Which of (n, units) values come among the first k of these, and of those seen so far."""
        least = values.topk(min(self.k, len(values)), dim=0).values[-1]
        if self.values.shape[-1:] == (self.k,):
            least = torch.maximum(least, self.values[:, -1].to(least))
        return values >= least

    def merge(self, other: "TopK") -> None:
        """Take in what another pass found."""
        if other.values.numel():
            self._take(other.values, other.images, other.positions)

    def _take(self, values: Tensor, images: Tensor, positions: Tensor) -> None:
        values, images, positions = (part.cpu() for part in (values, images, positions))
        if self.values.numel():
            values = torch.cat([self.values, values], 1)
            images = torch.cat([self.images, images], 1)
            positions = torch.cat([self.positions, positions], 1)
        # Two stable sorts: by image number, then by falling value.
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


class Moments:
    """Count, mean and variance of each unit over all images and positions.

    Sums are whole numbers in two parts, units and 2^-40ths, so that adding is exact and the result
    is the same for any order of images or shards; each image's own sum is rounded to 2^-40.

    Attributes:
        sums: (5, units): positions; the sum's two parts; the sum of squares' two parts.
    """

    FINE = 2.0**40

    def __init__(self) -> None:
        self.sums: Tensor = torch.empty(0, dtype=torch.int64)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Take in one batch."""
        maps = flatten_positions(activations).double()
        rows = [torch.full(maps.shape[1:2], len(maps) * maps.shape[2], device=maps.device)]
        for sums in (maps.sum(2), (maps * maps).sum(2)):
            whole = sums.floor()
            rows += [whole.long().sum(0), ((sums - whole) * self.FINE).round().long().sum(0)]
        self._add(torch.stack(rows).cpu())

    def merge(self, other: "Moments") -> None:
        """Take in what another pass summed."""
        if other.sums.numel():
            self._add(other.sums)

    def _add(self, sums: Tensor) -> None:
        self.sums = self.sums + sums if self.sums.numel() else sums

    def result(self) -> tuple[int, Float[Tensor, " units"], Float[Tensor, " units"]]:
        """Return the number of values per unit, and each unit's mean and variance."""
        if not self.sums.numel():
            raise InputError("no activation seen yet; update first")
        count, whole, fine, whole2, fine2 = self.sums.double()
        mean = (whole + fine / self.FINE) / count
        variance = (whole2 + fine2 / self.FINE) / count - mean * mean
        return int(self.sums[0, 0]), mean, variance.clamp(min=0)

    def state(self) -> dict[str, Tensor]:
        """Return the sums."""
        return {"sums": self.sums}


@torch.no_grad()
def tally(
    model: nn.Module,
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    wanted: Mapping[str, Sequence[Accumulator]],
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Run a data set through a network once and feed every accumulator.

    Args:
        model: any network.
        batches: (image numbers, images) pairs.
        wanted: layer -> the accumulators that take its activations.
        on_progress: called with the number of images seen so far.

    Raises:
        InputError: a layer gave a value that is no number.
    """
    seen = 0
    for numbers, images in batches:
        hooks.visit(
            model, images, {layer: _feeder(layer, wanted[layer], numbers) for layer in wanted}
        )
        seen += len(numbers)
        if on_progress:
            on_progress(seen)


def _feeder(
    layer: str, accumulators: Sequence[Accumulator], numbers: Tensor
) -> Callable[[Tensor], None]:
    def feed(activations: Tensor) -> None:
        if torch.isnan(activations.amax()):  # a maximum passes NaN on
            raise InputError(f"layer {layer!r} gave NaN on images {numbers.tolist()[:3]}...")
        for accumulator in accumulators:
            accumulator.update(activations, numbers)

    return feed


def save(accumulator: Accumulator, path: str | Path) -> None:
    """Write what an accumulator has gathered, so that a pass can be cut up and resumed."""
    with replace_atomically(path) as partial:
        save_file({k: v.contiguous() for k, v in accumulator.state().items()}, partial)


def restore(accumulator: Accumulator, path: str | Path) -> None:
    """Take up what `save` wrote into a fresh accumulator of the same kind.

    Raises:
        FileProblem: the file is missing or belongs to another kind.
    """
    if not Path(path).is_file():
        raise FileError(f"no tally at {path}; check the path")
    state = load_file(path)
    if state.keys() != accumulator.state().keys():
        raise FileError(f"{path} holds {', '.join(sorted(state))}: another kind of tally")
    for name, value in state.items():
        setattr(accumulator, name, value)


class FiringRate:
    """On how many images each unit fires anywhere.

    Attributes:
        counts: (2, units) images it fired on, and images seen.
    """

    def __init__(self) -> None:
        self.counts: Tensor = torch.zeros(2, 0, dtype=torch.int64)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Take in one batch."""
        fired = flatten_positions(activations).amax(2) > 0
        self._add(torch.stack([fired.sum(0), torch.full_like(fired[0].long(), len(fired))]).cpu())

    def merge(self, other: "FiringRate") -> None:
        """Take in what another pass counted."""
        if other.counts.numel():
            self._add(other.counts)

    def _add(self, counts: Tensor) -> None:
        self.counts = self.counts + counts if self.counts.numel() else counts

    def state(self) -> dict[str, Tensor]:
        """Return the counts."""
        return {"counts": self.counts}

    def shares(self) -> Float[Tensor, " units"]:
        """Return the share of the images that each unit fires on."""
        return self.counts[0] / self.counts[1].clamp(min=1)
