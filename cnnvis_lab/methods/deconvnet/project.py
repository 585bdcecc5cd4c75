"""DeconvNet: what in a picture excited a unit, projected back to the pixels.

One activation of a layer is kept, all others are dropped, and the network runs backwards from it:
unpool by the switches of the way forward, rectify, filter with the transposed kernels (survey,
section 4). The gradient, guided back-propagation and the hybrids of the literature differ only in
the rule at a layer, see `core.reversals.RULES`. Many units and pictures go back at once, and each
picture goes forward once for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core import Float, Images, InputError, Int, backward
from ...core.backward import BackwardRule
from ...core.optimization import GIBIBYTE, batch_that_fits, objectives

# Signals that go back together: on a CPU no more than its cache has room for.
BATCH = {"cpu": 32, "cuda": 256}


class Activations(NamedTuple):
    """Single activations of one layer: of which image, unit and position, and how strong."""

    images: Int[Tensor, " m"]
    units: Int[Tensor, " m"]
    positions: Int[Tensor, "m 2"]
    values: Float[Tensor, " m"]

    def select(self, which: Tensor) -> "Activations":
        """Return those of these numbers."""
        return Activations(*(part[which] for part in self))

    def to(self, device: torch.device) -> "Activations":
        """Return them on a device."""
        return Activations(*(part.to(device) for part in self))


@dataclass(frozen=True)
class Projections:
    """Units of several layers, each on several images.

    Attributes:
        targets: "layer:unit" of each.
        pictures: (images, targets, 3, h, w) what arrives at the pixels: of both signs, and zero
            outside the receptive field.
        activations: (images, targets) the activation that is projected.
        positions: (images, targets, 2) its row and column in the map; 0, 0 in full layers.
    """

    targets: tuple[str, ...]
    pictures: Float[Tensor, "n t 3 h w"]
    activations: Float[Tensor, "n t"]
    positions: Int[Tensor, "n t 2"]


def project(
    model: nn.Module,
    images: Images,
    targets: str | Sequence[str],
    *,
    rule: str | BackwardRule = "deconvnet",
    seed_value: str | float = "activation",
    memory_limit: int = GIBIBYTE,
) -> Projections:
    """Project the strongest activation of each unit on each image back to the pixels.

    A unit named before its ReLU or after it gives the same picture where it fires.

    Args:
        model: the network, in eval mode.
        images: (n, 3, h, w) in [0, 1].
        targets: "layer:unit", one or many, of any layers.
        rule: a name in `core.reversals.RULES`, or one's own.
        seed_value: "activation" keeps the unit's own value, and gives an empty picture where it
            does not fire (value at most 0); a number is put in its place.
        memory_limit: bytes that one pass may take; what is returned comes on top.

    Returns:
        Every target on every image.

    Raises:
        NameNotFound: no such layer or rule.
        InputError: a unit out of range, or something on the way that cannot be reversed.

    Source: Zeiler and Fergus 2013, section 2.1 (the activation kept, not 1); survey section 4.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    by_layer = _group_by_layer(names)
    result, fits = (
        _empty_projections(images, names),
        batch_that_fits(model, images[:1], [*by_layer], memory_limit),
    )
    ways = {layer: Projector(model, layer, rule, seed_value, fits) for layer in by_layer}
    for part in torch.arange(len(images), device=images.device).split(fits):
        passed = backward.cache_forward(model, images[part], [*by_layer])
        for layer, (columns, units) in by_layer.items():
            seeds = _peak_activations(passed.outputs[layer], units, layer)
            rows, columns = part[seeds.images], columns.to(part).repeat(len(part))
            result.activations[rows, columns] = seeds.values
            result.positions[rows, columns] = seeds.positions
            for which, pictures in ways[layer].go(passed, seeds):
                result.pictures[rows[which], columns[which]] = pictures
    return result


def _group_by_layer(targets: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> which of the targets are units of it, and which units."""
    parsed = [
        (layer, i, unit) for i, (layer, unit) in enumerate(map(objectives.parse_target, targets))
    ]
    if not parsed:
        raise InputError("no target; give at least one layer:unit, such as CL5:3")
    return {
        layer: tuple(torch.tensor([t[1:] for t in parsed if t[0] == layer]).T)
        for layer in dict.fromkeys(layer for layer, _, _ in parsed)
    }


def _empty_projections(images: Images, names: tuple[str, ...]) -> Projections:
    shape = len(images), len(names)
    return Projections(
        names,
        images.new_zeros(*shape, *images.shape[1:]),
        images.new_zeros(shape),
        torch.zeros(*shape, 2, dtype=torch.int64, device=images.device),
    )


def _peak_activations(output: Tensor, units: Tensor, layer: str) -> Activations:
    """The strongest activation of each unit on each image, image by image."""
    if int(units.max()) >= output.shape[1]:
        top, has = int(units.max()), output.shape[1]
        raise InputError(f"unit {top} of {layer}: it has {has} units, counted from 0")
    n, units = len(output), units.to(output.device)
    values, flat = output[:, units].reshape(n * len(units), -1).max(1)
    width = output.shape[-1] if output.ndim > 2 else 1
    positions = torch.stack([flat // width, flat % width], 1)
    numbers = torch.arange(n, device=output.device).repeat_interleave(len(units))
    return Activations(numbers, units.repeat(n), positions, values)


class Projector:
    """The way back from one layer, for any number of seeds, a few at a time."""

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        rule: str | BackwardRule,
        seed_value: str | float,
        fits: int,
    ) -> None:
        if isinstance(seed_value, str) and seed_value != "activation":
            raise InputError(f"seed value {seed_value!r}: expected activation, or a number")
        self.model, self.layer, self.rule = model, layer, rule
        self.seed_value, self.fits = seed_value, fits
        self.networks: dict[int, backward.BackwardNetwork] = {}

    def go(
        self, passed: backward.ForwardCache, seeds: Activations
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the numbers of some seeds with their projections, until all have been."""
        values, output = self._kept(seeds.values), passed.outputs[self.layer]
        # Neighbours together: the box that a signal fills is then small.
        order = (seeds.positions[:, 0] * 2**16 + seeds.positions[:, 1]).argsort(stable=True)
        silent, firing = order[values[order] == 0], order[values[order] != 0]
        yield silent, output.new_zeros(()).expand(len(silent), *passed.input_shape[1:])
        together = min(BATCH.get(output.device.type, 64), self.fits)
        for which in firing.split(together) if len(firing) else ():
            few, rows = seeds.select(which), torch.arange(len(which), device=which.device)
            signals = output.new_zeros(len(which), *output.shape[1:])
            place = few.positions.T if output.ndim > 2 else ()
            signals[(rows, few.units, *place)] = values[which]
            yield which, self._network(passed, len(which))(passed, signals, few.images)

    def _kept(self, activations: Tensor) -> Tensor:
        if self.seed_value == "activation":
            return activations.clamp(min=0)
        return torch.full_like(activations, self.seed_value)

    def _network(self, passed: backward.ForwardCache, count: int) -> backward.BackwardNetwork:
        if count not in self.networks:
            network = backward.BackwardNetwork(self.model, passed, self.layer, count, self.rule)
            self.networks[count] = network
        return self.networks[count]
