"""Diagnose a network's design: dead maps, flat first-layer filters, missing frequencies, aliasing.

From filters and projections, Zeiler and Fergus concluded that AlexNet's first layer, 11x11 with
stride 4, lacks middle frequencies and causes aliasing in the second layer; they chose 7x7 with
stride 2 instead. This module measures the same properties in any network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ...core import Bool, Float, Int, spectra
from ...core.receptive_field import Pair, fields_or_image
from ...core.statistics import FiringRate, TopK, tally
from ...data import ImageSet
from ...models import Model
from ..evaluation import active_units
from .top_projections import top_projections

# Number of maps whose projections are in memory at a time.
MAPS_PER_BATCH = 64
# Of a layer with more maps, as many are projected, evenly spaced.
MAX_MAPS = 128
# A kernel is flat if its response to natural images is below this fraction of the largest. Their
# amplitude falls as 1 / frequency (Field 1987), so kernels for colors need small weights only.
FLAT_LIMIT = 0.02
# A map is aliased if more than this fraction of its projections' energy lies at frequencies that
# the stride of the first layer is too coarse for.
ALIASING_LIMIT = 0.5
# A frequency is covered if a kernel's power there is at least this fraction of its largest power.
COVERAGE_LIMIT = 0.5


@dataclass(frozen=True)
class KernelDiagnosis:
    """Diagnosis of the first convolution's kernels, as they act on images.

    Attributes:
        layer: its name.
        stride: vertical and horizontal, in pixels.
        flat: which kernels hardly respond, see `FLAT_LIMIT`.
        bands: (units, 3) fractions of their energy at low, middle and high frequencies, see
            `core.spectra.FREQUENCY_BANDS`.
        coverage: fraction of the middle frequencies, in all directions, that at least one kernel
            covers.
        aliasing: fraction of their energy at frequencies that the layer's stride is too coarse
            for.
    """

    layer: str
    stride: Pair
    flat: Bool[Tensor, " units"]
    bands: Float[Tensor, "units 3"]
    coverage: float
    aliasing: Float[Tensor, " units"]


@dataclass(frozen=True)
class LayerDiagnosis:
    """Diagnosis of one layer's maps.

    Attributes:
        layer: its name.
        field: height and width of the receptive field, in pixels.
        stride: pixels from one position to the next; 0 if all positions have the same field.
        firing_rates: fraction of the images on which each map is active.
        aliasing: fraction of the energy of each map's projections at frequencies that the first
            layer's stride is too coarse for; 0 for a dead map, NaN for a map that is not among the
            `projected_maps`.
    """

    layer: str
    field: Pair
    stride: Pair
    firing_rates: Float[Tensor, " units"]
    aliasing: Float[Tensor, " units"]

    @property
    def dead(self) -> Bool[Tensor, " units"]:
        """Which maps are active on no image."""
        return self.firing_rates == 0

    @property
    def aliased(self) -> Bool[Tensor, " units"]:
        """Which maps have mostly aliased frequencies in their projections, see `ALIASING_LIMIT`."""
        return self.aliasing > ALIASING_LIMIT

    @property
    def dead_fraction(self) -> float:
        """Fraction of the maps that are dead."""
        return float(self.dead.float().mean())

    @property
    def mean_firing_rate(self) -> float:
        """Mean firing rate of the maps."""
        return float(self.firing_rates.mean())

    @property
    def mean_aliasing(self) -> float:
        """Mean aliasing of the projected maps that are not dead; 0 if all are."""
        known = self.aliasing[~self.dead & ~self.aliasing.isnan()]
        return float(known.mean()) if len(known) else 0.0


@dataclass(frozen=True)
class Diagnosis:
    """Diagnosis of a network: the first convolution's kernels, and its layers."""

    kernels: KernelDiagnosis
    layers: tuple[LayerDiagnosis, ...]

    def column(self, name: str) -> list[float]:
        """Return one property of every layer, such as "dead_fraction"."""
        return [getattr(layer, name) for layer in self.layers]


@dataclass(frozen=True)
class DatasetScan:
    """Statistics of one pass over a dataset, by layer.

    Attributes:
        top_images: the top-activating images of each unit.
        firing_rates: how often each map is active.
    """

    top_images: dict[str, TopK]
    firing_rates: dict[str, FiringRate]

    def active_units(self, count: int, seed: int = 0) -> dict[str, list[int]]:
        """Return layer -> random sample of units that are active on all their top images.

        Args:
            count: maximum number of units per layer.
            seed: seed of the samples.
        """
        return {
            layer: active_units(top, count, seed, min_images=top.values.shape[1])
            for layer, top in self.top_images.items()
        }


def scan_dataset(model: Model, dataset: ImageSet, layers: Sequence[str], k: int = 9) -> DatasetScan:
    """Run a dataset through a network once, for `diagnose` and `top_projections`.

    Args:
        model: the network.
        dataset: the images.
        layers: dotted names or aliases.
        k: number of top-activating images per unit.
    """
    top_images = {layer: TopK(min(k, len(dataset))) for layer in layers}
    rates = {layer: FiringRate() for layer in layers}
    batches = ((indices, images.to(model.device)) for indices, images in dataset.batches(32))
    tally(model, batches, {layer: [top_images[layer], rates[layer]] for layer in layers})
    return DatasetScan(top_images, rates)


def diagnose(
    model: Model,
    dataset: ImageSet,
    layers: Sequence[str] | None = None,
    *,
    k: int = 1,
    scan: DatasetScan | None = None,
) -> Diagnosis:
    """Diagnose a network on a dataset.

    Args:
        model: the network.
        dataset: the images; maps that none of them activates count as dead.
        layers: dotted names or aliases, each directly before or after a ReLU; None for the
            network's default layers without the class scores.
        k: number of projections of each map over which aliasing is averaged.
        scan: the result of `scan_dataset` for the same images and layers; None to compute it.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer that cannot be reversed.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 6; survey figure F6. The measures are
    this project's.
    """
    default_layers = [name for name in model.default_layers().values() if name != "logits"]
    layers = list(layers or default_layers)
    scan = scan or scan_dataset(model, dataset, layers, k)
    kernels = diagnose_kernels(model)
    fields = fields_or_image(model, layers, model.card.input_size)
    rows = []
    for layer in layers:
        top, rates = scan.top_images[layer], scan.firing_rates[layer].fractions()
        aliasing = _projection_aliasing(model, dataset, layer, top, k, kernels.stride)
        field = fields[layer]
        rows.append(LayerDiagnosis(layer, field.size, field.stride, rates, aliasing))
    return Diagnosis(kernels, tuple(rows))


def projected_maps(count: int) -> Int[Tensor, " maps"]:
    """Return which of a layer's maps are projected: all of them, or `MAX_MAPS`."""
    return torch.linspace(0, count - 1, min(count, MAX_MAPS)).round().long()


def _projection_aliasing(
    model: Model, dataset: ImageSet, layer: str, top: TopK, k: int, stride: Pair
) -> Float[Tensor, " units"]:
    """Return the mean aliasing of each map's first k projections, computed a few maps at a time."""
    found = torch.full((len(top.values),), torch.nan)
    for units in projected_maps(len(found)).split(MAPS_PER_BATCH):
        chosen, images = {layer: units.tolist()}, {layer: top}
        shown = top_projections(model, dataset, [layer], k=k, units=chosen, top_images=images)
        projections = shown[layer].projections
        aliasing = spectra.aliased_fraction(projections.flatten(0, 1), stride)
        found[units] = aliasing.unflatten(0, projections.shape[:2]).mean(1).to(found)
    return found


def diagnose_kernels(model: Model) -> KernelDiagnosis:
    """Diagnose the first convolution from its weights alone."""
    layer, kernels = model.first_conv(), model.kernels().cpu()
    down, across = cast(nn.Conv2d, model.net.get_submodule(layer)).stride
    power, frequency = spectra.power_spectra(kernels)
    length = frequency.norm(dim=0)
    natural = (power / length.clamp(min=1 / spectra.MIN_SIZE).square()).sum((1, 2)).sqrt()
    response = natural * kernels.flatten(1).norm(dim=1)
    flat = response < FLAT_LIMIT * response.max()
    band = torch.bucketize(length, torch.tensor(spectra.FREQUENCY_BANDS))
    bands = torch.stack([power[:, band == i].sum(1) for i in range(3)], 1)
    relative = (power / power.amax((1, 2), keepdim=True).clamp(min=1e-30))[~flat].amax(0)
    coverage = (relative >= COVERAGE_LIMIT)[band == 1].float().mean()
    aliasing = spectra.aliased_fraction(kernels, (down, across))
    return KernelDiagnosis(layer, (down, across), flat, bands, float(coverage), aliasing)
