"""What is dissected and how: the conventions in use, and all that a pass over pictures needs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from threading import Lock

import torch
from torch import Tensor, nn

from ...core import InputError, hooks, receptive_field
from ...core.statistics import Quantiles, TopK
from ...data import LabelledSet, as_labelled
from .conventions import Convention, get_convention
from .counts import Counts
from .grid import Grid, as_maps, make_grid

OnMaps = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class Plan:
    """What is dissected and how: all that a pass over any part of the pictures needs.

    Attributes:
        model: the network.
        data: pictures with label maps.
        layers: as the caller wrote them.
        convention: how masks are made and compared.
        batch: pictures taken together.
        top: how many of each unit's strongest pictures are noted.
        units: layer -> its number of units.
        grids: layer -> where its positions lie among label pixels.
    """

    model: nn.Module
    data: LabelledSet
    layers: tuple[str, ...]
    convention: Convention
    batch: int
    top: int
    units: Mapping[str, int]
    grids: Mapping[str, Grid]

    @cached_property
    def batches(self) -> list[list[int]]:
        """The numbers of the pictures of every batch.

        They are drawn at random, once and for all, so that the first few are a fair sample.
        """
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(0))
        return [part.tolist() for part in order.split(self.batch)]

    def numbered(self, batches: Iterable[int] | None, done: int) -> list[tuple[int, int]]:
        """Return (how many are done after it, its number) for the batches that are left."""
        chosen = range(len(self.batches)) if batches is None else batches
        return list(enumerate(chosen, 1))[done:]

    def maps(self, pictures: Sequence[int], layers: Sequence[str]) -> dict[str, Tensor]:
        """Run pictures through the network; return the layers' maps.

        Raises:
            InputError: a layer gave a value that is no number.
        """
        kept: dict[str, Tensor] = {}
        with self.running(layers) as run:
            run(pictures, lambda layer, maps: kept.update({layer: maps.clone()}))
        return kept

    @contextmanager
    def running(self, layers: Sequence[str]) -> Iterator[Callable[[Sequence[int], OnMaps], None]]:
        """Give a function that runs pictures through the network and shows the layers' maps.

        Several threads may call it at once. What is shown may be overwritten afterwards.
        """
        weights = next(self.model.parameters(), None)

        with hooks.passes(self.model, layers) as through:

            def run(pictures: Sequence[int], look: OnMaps) -> None:
                def show(layer: str, output: Tensor) -> None:
                    if output.sum().isnan() and torch.isnan(output).any():
                        shown = f"pictures {list(pictures)[:3]}..."
                        raise InputError(f"layer {layer!r} gave NaN on {shown}")
                    look(layer, as_maps(output))

                with self._reading:
                    images = self.data.batch(pictures)
                where = images.device if weights is None else weights.device
                images = images.to(where, memory_format=torch.channels_last)
                with torch.no_grad():
                    through(images, {layer: partial(show, layer) for layer in layers})

            yield run

    def labels(self, pictures: Sequence[int]) -> Tensor:
        """Return label maps at the resolution of the convention."""
        step = self.convention.label_step
        with self._reading:
            return self.data.label_maps(pictures)[..., ::step, ::step]

    @cached_property
    def _reading(self) -> Lock:
        """Held while the data set is read, which need not know of threads."""
        return Lock()

    def quantiles(self) -> dict[str, Quantiles]:
        """Return an empty accumulator for each layer's thresholds."""
        return {layer: Quantiles() for layer in self.layers}

    def tops(self) -> dict[str, TopK]:
        """Return an empty accumulator for each layer's strongest pictures."""
        return {layer: TopK(max(self.top, 1)) for layer in self.layers}

    def counts(self) -> Counts:
        """Return empty counts."""
        labels = sorted(self.data.labels.values())
        return Counts(self.units, labels, self.convention.area)


def make_plan(
    model: nn.Module,
    data: object,
    layers: Sequence[str],
    *,
    convention: str | Convention = "original",
    batch: int = 64,
    top: int = 0,
) -> Plan:
    """Check what is to be dissected and find out its shapes; see `dissect` for the arguments."""
    convention = get_convention(convention)
    if not layers or batch < 1:
        raise InputError(f"{len(layers)} layers, batches of {batch}: expected at least one each")
    card = getattr(model, "card", None)
    data = as_labelled(data, card.input_size if card else None)
    if not len(data) or not data.labels:
        raise InputError("no picture or no concept to compare with; check the data set")
    units = dict.fromkeys(layers, 0)
    found = Plan(model, data, tuple(units), convention, batch, top, units, {})
    maps = found.maps([0], found.layers)
    size, label_size = data.batch([0]).shape[-2:], found.labels([0]).shape[-2:]
    grids = make_grids(model, maps, size, label_size, convention)
    return replace(found, units={layer: maps[layer].shape[1] for layer in maps}, grids=grids)


def make_grids(
    model: nn.Module,
    maps: Mapping[str, Tensor],
    picture: Sequence[int],
    labels: Sequence[int],
    convention: Convention,
) -> dict[str, Grid]:
    """Return where the positions of layers lie among label pixels.

    Args:
        model: the network.
        maps: layer -> its maps.
        picture: height and width of the pictures.
        labels: height and width of the label maps.
        convention: says how positions are laid out.
    """
    fields = {}
    if "fields" in convention.grid:
        placed = [layer for layer in maps if maps[layer].shape[-2:] != (1, 1)]
        try:
            fields = receptive_field.receptive_fields(model, placed, max(picture)) if placed else {}
        except InputError as error:
            what = "convention='lite', which stretches maps over the picture, needs none"
            raise InputError(f"{error}; {what}") from None
    shapes = {layer: tuple(values.shape[-2:]) for layer, values in maps.items()}
    return {
        layer: make_grid(convention.grid, shape, tuple(picture), tuple(labels), fields.get(layer))
        for layer, shape in shapes.items()
    }


def labelled_data(model: nn.Module, data: object) -> LabelledSet:
    """Return a data set as a labelled one of the network's input size."""
    card = getattr(model, "card", None)
    return as_labelled(data, card.input_size if card else None)
