"""The plan of a dissection, which both passes share: model, data, layers, convention, grids."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from threading import Lock

import torch
from torch import Tensor, nn

from ...core import InputError, choose, features, hooks
from ...core.receptive_field import fields_or_image
from ...data import ImageSet, LabelledSet, as_labelled
from ...data.broden import Broden
from .conventions import CONVENTIONS, Convention
from .counts import Counts
from .grid import Grid, as_maps, make_grid

LabelledData = LabelledSet | Broden
OnMaps = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class Plan:
    """What is dissected, and how.

    Attributes:
        model: the network.
        data: images with label maps.
        layers: dotted names or aliases, as given.
        convention: how masks are computed and compared.
        batch: images per batch.
        top: number of top-activating images recorded per unit.
        units: layer -> number of units.
        grids: layer -> positions of its maps in label pixels.
        memory_format: of the images; channels last, which is faster, if the network bears it.
    """

    model: nn.Module
    data: LabelledSet
    layers: tuple[str, ...]
    convention: Convention
    batch: int
    top: int
    units: Mapping[str, int]
    grids: Mapping[str, Grid]
    memory_format: torch.memory_format = torch.contiguous_format
    _reading: Lock = field(default_factory=Lock, repr=False)  # datasets need not be thread-safe

    @cached_property
    def batches(self) -> list[list[int]]:
        """The image indices of every batch, in a fixed random order.

        The first few batches are therefore a representative sample.
        """
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(0))
        return [indices.tolist() for indices in order.split(self.batch)]

    def maps(self, indices: Sequence[int], layers: Sequence[str]) -> dict[str, Tensor]:
        """Run images through the network and return the layers' maps.

        Args:
            indices: of the images.
            layers: the layers.

        Raises:
            InputError: a layer returned NaN.
        """
        maps: dict[str, Tensor] = {}
        with self.forward_passes(layers) as forward:
            forward(indices, lambda layer, output: maps.update({layer: output.clone()}))
        return maps

    @contextmanager
    def forward_passes(
        self, layers: Sequence[str]
    ) -> Iterator[Callable[[Sequence[int], OnMaps], None]]:
        """Yield a function that runs images through the network and hands each layer's maps on.

        The function may be called from several threads. Maps may be overwritten once the callback
        returns.
        """
        with hooks.passes(self.model, layers) as run:
            yield partial(self._forward, run, layers)

    def _forward(
        self, run: Callable, layers: Sequence[str], indices: Sequence[int], on_maps: OnMaps
    ) -> None:
        with self._reading:
            images = self.data.batch(indices)
        weights = next(self.model.parameters(), images)
        images = images.to(weights.device, memory_format=self.memory_format)
        with torch.no_grad():
            run(images, {layer: partial(_pass_on, layer, indices, on_maps) for layer in layers})

    def labels(self, indices: Sequence[int]) -> Tensor:
        """Return the label maps of images, (n, layers, y, x), at the convention's resolution."""
        step = self.convention.label_step
        with self._reading:
            return self.data.label_maps(indices)[..., ::step, ::step]

    def empty_counts(self) -> Counts:
        """Return counts that are all zero."""
        return Counts(self.units, sorted(self.data.labels.values()), self.convention.area)


def _pass_on(layer: str, indices: Sequence[int], on_maps: OnMaps, output: Tensor) -> None:
    if output.sum().isnan() and torch.isnan(output).any():  # a sum is cheap, but may overflow
        raise InputError(f"layer {layer!r} returned NaN on images {list(indices)[:3]}...")
    features.require_units(output, layer)
    on_maps(layer, as_maps(output))


def make_plan(
    model: nn.Module,
    data: LabelledData,
    layers: Sequence[str],
    *,
    convention: str | Convention = "original",
    batch: int = 64,
    top: int = 0,
) -> Plan:
    """Check the arguments of a dissection and determine its shapes.

    Args:
        model: any network that takes images in [0, 1].
        data: images with label maps.
        layers: dotted names or aliases.
        convention: a name in `CONVENTIONS`, or a custom one.
        batch: images per batch.
        top: number of top-activating images to record per unit.

    Raises:
        NameNotFound: no such layer or convention.
        InputError: no layer, image or concept.
    """
    convention = choose("convention", convention, CONVENTIONS)
    if not layers or batch < 1:
        raise InputError(f"{len(layers)} layers, batches of {batch}: expected at least one each")
    data = labelled_data(model, data)
    if not len(data) or not data.labels:
        raise InputError("no image or no concept to compare with; check the dataset")
    units = dict.fromkeys(layers, 0)
    plan = Plan(model, data, tuple(units), convention, batch, top, units, {})
    first = data.batch([0]).to(next(model.parameters(), torch.empty(0)).device)
    plan = replace(plan, memory_format=features.memory_format(model, first, plan.layers))
    maps = plan.maps([0], plan.layers)
    image_size, label_size = data.batch([0]).shape[-2:], plan.labels([0]).shape[-2:]
    grids = make_grids(model, maps, image_size, label_size, convention)
    return replace(plan, units={layer: maps[layer].shape[1] for layer in maps}, grids=grids)


def make_grids(
    model: nn.Module,
    maps: Mapping[str, Tensor],
    image_size: Sequence[int],
    label_size: Sequence[int],
    convention: Convention,
) -> dict[str, Grid]:
    """Return the positions of layers in label pixels.

    Args:
        model: the network.
        maps: layer -> its maps.
        image_size: height and width of the images.
        label_size: height and width of the label maps.
        convention: determines where positions lie; maps whose receptive fields have no centers of
            their own are stretched over the image.
    """
    shapes = {layer: tuple(values.shape[-2:]) for layer, values in maps.items()}
    fields = {}
    if "fields" in convention.grid:
        spatial = [layer for layer, shape in shapes.items() if shape != (1, 1)]
        height, width = image_size
        fields = fields_or_image(model, spatial, (height, width)) if spatial else {}
    sizes = tuple(image_size), tuple(label_size)
    return {
        layer: make_grid(convention.grid, shape, *sizes, fields.get(layer))
        for layer, shape in shapes.items()
    }


def labelled_data(model: nn.Module, data: LabelledData | ImageSet) -> LabelledSet:
    """Return data as images with label maps, resized to the network's input size if known."""
    return as_labelled(data, getattr(getattr(model, "card", None), "input_size", None))
