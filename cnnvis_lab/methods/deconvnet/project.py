"""DeconvNet: project single activations of a network back to the pixels.

All activations of a layer except one are set to zero, and a backward pass propagates this one to
the pixels: unpool with the switches of the forward pass, rectify, filter with the transposed
kernels (survey, section 4). The gradient, guided backpropagation and related methods differ only in
the rules of some layers, see `core.backward.RULES`. A backward pass covers many units and images,
and each image needs one forward pass for all units.
"""

import math
import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...core import Float, Images, InputError, Int, backward, features
from ...core.backward import BackwardRule
from ...core.optimization import GIBIBYTE, batch_that_fits, objectives
from ...models import fit_channels

# Numbers in the largest maps of one backward pass. On a CPU, larger tensors leave the cache.
NUMBERS = {"cpu": 2**21, "cuda": 2**25}
ROWS = 4  # Signals of so many rows are sorted by columns.
PREPARATIONS = 8  # that are kept for each network


class Activations(NamedTuple):
    """Single activations of one layer: their image, unit and position, and their values."""

    images: Int[Tensor, " m"]
    units: Int[Tensor, " m"]
    positions: Int[Tensor, "m 2"]
    values: Float[Tensor, " m"]

    def select(self, indices: Tensor) -> "Activations":
        """Return some of the activations."""
        return Activations(*(part[indices] for part in self))

    def to(self, device: torch.device) -> "Activations":
        """Return the activations on a device."""
        return Activations(*(part.to(device) for part in self))


@dataclass(frozen=True)
class Projections:
    """Projections of units of any layers, each on several images.

    Attributes:
        targets: "layer:unit" of each unit.
        pixels: (images, targets, 3, h, w) the projections; they have both signs, and are zero
            outside the receptive field.
        activations: (images, targets) the activation that is projected.
        positions: (images, targets, 2) row and column of this activation in its map; (0, 0) in
            fully connected layers.
    """

    targets: tuple[str, ...]
    pixels: Float[Tensor, "n t c h w"]
    activations: Float[Tensor, "n t"]
    positions: Int[Tensor, "n t 2"]

    @property
    def layers(self) -> list[str]:
        """The layer of each target."""
        return [objectives.parse_target(target)[0] for target in self.targets]


def project(
    model: nn.Module,
    images: Images,
    targets: str | Sequence[str],
    *,
    rule: str | BackwardRule = "deconvnet",
    start_value: str | float = "activation",
    memory_limit: int = GIBIBYTE,
) -> Projections:
    """Project the highest activation of each unit on each image back to the pixels.

    An active unit has the same projection before and after its ReLU.

    Args:
        model: the network, in eval mode.
        images: (n, 3, h, w) in [0, 1].
        targets: "layer:unit", one or many, of any layers.
        rule: a name in `core.backward.RULES`, or a rule of your own.
        start_value: "activation" projects the unit's own value, and gives a zero projection if the
            unit is inactive (value at most 0); a number replaces the value.
        memory_limit: bytes that one pass may take, in addition to the result.

    Returns:
        The projections of every target on every image.

    Raises:
        NameNotFound: no such layer or rule.
        InputError: a unit out of range, or a layer that cannot be reversed.

    Source: Zeiler and Fergus 2013, section 2.1 (which starts from the activation, not from 1);
    survey section 4.
    """
    names = (targets,) if isinstance(targets, str) else tuple(targets)
    by_layer, images = _group_by_layer(names), fit_channels(model, images)
    batch, networks = _prepare(model, images, rule, tuple(by_layer), memory_limit)
    projectors = {
        layer: Projector(model, layer, rule, start_value, batch, networks[layer])
        for layer in by_layer
    }
    shape = len(images), len(names)
    result = Projections(
        names,
        images.new_zeros(*shape, *images.shape[1:]),
        images.new_zeros(shape),
        torch.zeros(*shape, 2, dtype=torch.int64, device=images.device),
    )
    for indices in torch.arange(len(images), device=images.device).split(batch):
        cache = backward.cache_forward(model, images[indices], [*by_layer])
        for layer, targets_of_layer in by_layer.items():
            columns, units = targets_of_layer.to(indices).T
            peaks = _peak_activations(cache.outputs[layer], units, layer)
            rows, columns = indices[peaks.images], columns.repeat(len(indices))
            result.activations[rows, columns] = peaks.values
            result.positions[rows, columns] = peaks.positions
            for done, pixels in projectors[layer].project_batches(cache, peaks):
                result.pixels[rows[done], columns[done]] = pixels
    for network in (network for own in networks.values() for network in own.values()):
        network.release()
    return result


class _Preparation(NamedTuple):
    """What calls of `project` with images of one size have in common.

    Attributes:
        batch: images per pass.
        networks: layer -> number of signals -> backward network.
    """

    batch: int
    networks: dict[str, dict[int, backward.BackwardNetwork]]


# For each network: its state, and the preparations of the last calls.
_prepared: WeakKeyDictionary[nn.Module, tuple[list[int], dict[Hashable, _Preparation]]]
_prepared = WeakKeyDictionary()


def _prepare(
    model: nn.Module,
    images: Images,
    rule: str | BackwardRule,
    layers: tuple[str, ...],
    memory_limit: int,
) -> _Preparation:
    """Return the preparation of an earlier call, unless the network has changed since."""
    tensors = [*model.parameters(), *model.buffers()]
    state = [id(module) for module in model.modules()]
    state += [number for tensor in tensors for number in (id(tensor), tensor._version)]
    if model not in _prepared or _prepared[model][0] != state:
        _prepared[model] = (state, {})
    known = _prepared[model][1]
    kind = (images.shape[1:], images.dtype, images.device)
    # A backward network serves one thread at a time.
    key = (threading.get_ident(), layers, kind, rule, memory_limit)
    found = known.pop(key, None) or _Preparation(
        batch_that_fits(model, images[:1], layers, memory_limit), {layer: {} for layer in layers}
    )
    known[key] = found  # the last one
    for old in [*known][:-PREPARATIONS]:
        del known[old]
    return found


def _group_by_layer(targets: Sequence[str]) -> dict[str, Int[Tensor, "m 2"]]:
    """Return layer -> (column, unit) of each target of that layer."""
    if not targets:
        raise InputError("no target; give at least one layer:unit, such as CL5:3")
    groups: dict[str, list[tuple[int, int]]] = {}
    for column, (layer, unit) in enumerate(map(objectives.parse_target, targets)):
        groups.setdefault(layer, []).append((column, unit))
    return {layer: torch.tensor(rows) for layer, rows in groups.items()}


def check_units(units: Tensor, count: int, layer: str) -> None:
    """Check that a layer has some units.

    Args:
        units: indices of the units.
        count: number of units of the layer.
        layer: its name, for the message.

    Raises:
        InputError: an index out of range.
    """
    for unit in units[(units < 0) | (units >= count)].tolist():
        raise InputError(f"unit {unit} of {layer}: it has {count} units, counted from 0")


def _peak_activations(output: Tensor, units: Tensor, layer: str) -> Activations:
    """Return the highest activation of each unit on each image, image by image."""
    features.require_units(output, layer)
    check_units(units, output.shape[1], layer)
    values, flat = output[:, units].reshape(len(output) * len(units), -1).max(1)
    width = output.shape[-1] if output.ndim > 2 else 1
    positions = torch.stack([flat // width, flat % width], 1)
    images = torch.arange(len(output), device=output.device).repeat_interleave(len(units))
    return Activations(images, units.repeat(len(output)), positions, values)


class Projector:
    """Projects any number of activations of one layer, one batch after another.

    Args:
        model: the network, in eval mode.
        layer: dotted name or alias.
        rule: a name in `core.backward.RULES`, or a rule of your own.
        start_value: as for `project`.
        batch_limit: maximum number of activations per backward pass.
        networks: number of signals -> backward network, of earlier projectors of the same kind.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        rule: str | BackwardRule,
        start_value: str | float,
        batch_limit: int,
        networks: dict[int, backward.BackwardNetwork] | None = None,
    ) -> None:
        if isinstance(start_value, str) and start_value != "activation":
            raise InputError(f"start value {start_value!r}: expected activation, or a number")
        self.model, self.layer, self.rule = model, layer, rule
        self.start_value, self.batch_limit = start_value, batch_limit
        self._networks = {} if networks is None else networks

    def project_batches(
        self, cache: backward.ForwardCache, activations: Activations
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (indices of activations, their projections), batch by batch.

        Args:
            cache: a forward pass over the images of the activations.
            activations: activations of the layer.
        """
        values, output = self._start_values(activations.values), cache.outputs[self.layer]
        inactive, active = (values == 0).nonzero()[:, 0], (values != 0).nonzero()[:, 0]
        yield inactive, output.new_zeros(()).expand(len(inactive), *cache.input_shape[1:])
        if not len(active):
            return
        window = self._window(cache, len(active))
        places = window.places(activations.positions)
        inside = activations.positions - places
        # Neighbors go into the same batch, so that its signals reach only a small part of the maps.
        key = (inside[:, 0] // ROWS * 2**16 + inside[:, 1]) * ROWS + inside[:, 0] % ROWS
        order = active[key[active].argsort(stable=True)]
        for indices in order.split(self._batch(cache, window)):
            network = self._network(cache, len(indices))
            signals = output.new_zeros(network.entry.shape)
            rows = torch.arange(len(indices), device=indices.device)
            position = inside[indices].T if output.ndim > 2 else ()
            signals[(rows, activations.units[indices], *position)] = values[indices]
            yield indices, network(cache, signals, activations.images[indices], places[indices])

    def _start_values(self, activations: Tensor) -> Tensor:
        if isinstance(self.start_value, str):
            return activations.clamp(min=0)
        return torch.full_like(activations, self.start_value)

    def _batch(self, cache: backward.ForwardCache, window: backward.Window) -> int:
        """Return the number of signals per backward pass."""
        kind = cache.outputs[self.layer].device.type
        largest = max((math.prod(call.shape[1:]) for call in cache.calls), default=1)
        part = math.prod(window.size) / math.prod(window.image)
        fitting = int(NUMBERS.get(kind, NUMBERS["cuda"]) / (largest * part))
        return min(max(1, fitting), self.batch_limit)

    def _window(self, cache: backward.ForwardCache, count: int) -> backward.Window:
        """Return the window that the backward networks for any number of signals have."""
        if not self._networks:
            size = (cache.input_shape[-2], cache.input_shape[-1])
            window = backward.find_window(self.model, self.layer, size)
            count = min(count, self._batch(cache, window))
            self._build(cache, count, window)
        return next(iter(self._networks.values())).window

    def _network(self, cache: backward.ForwardCache, count: int) -> backward.BackwardNetwork:
        if count not in self._networks:
            self._build(cache, count, self._window(cache, count))
        return self._networks[count]

    def _build(self, cache: backward.ForwardCache, count: int, window: backward.Window) -> None:
        self._networks[count] = backward.BackwardNetwork(
            self.model, cache, self.layer, count, self.rule, window=window
        )
