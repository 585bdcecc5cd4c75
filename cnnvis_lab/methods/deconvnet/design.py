"""What a network's design shows: maps that never fire, kernels without mid frequencies, aliasing.

Zeiler and Fergus read from such pictures that AlexNet's first layer, 11x11 at stride 4, leaves
mid frequencies out and makes the second layer alias, and chose 7x7 at stride 2 instead. Here the
same is measured, on any network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core import Bool, Float, InputError, receptive_field, spectra
from ...core.statistics import FiringRate, TopK, tally
from ...data import ImageSet
from ...models import Model
from .top_projections import top_projections

# Maps whose projections are held at a time.
MAPS_PER_BATCH = 64
# A kernel is flat where its norm is below this share of the strongest one's.
FLAT_LIMIT = 0.1
# A map is aliased where more than this share of its projections' energy is beyond the first
# layer's reach.
ALIASING_LIMIT = 0.5
# A frequency is covered where some kernel answers to it with this share of its own best power.
COVERAGE_LIMIT = 0.5


@dataclass(frozen=True)
class KernelDiagnosis:
    """The first convolution's kernels, as they act on images.

    Attributes:
        layer: its name.
        stride: vertical and horizontal, in pixels.
        flat: which kernels hold next to nothing.
        bands: (units, 3) shares of their energy at low, middle and high frequencies (`BANDS`).
        coverage: share of the middle frequencies, all directions, that some kernel answers to.
        aliasing: share of their energy that the layer's own stride is too coarse for.
    """

    layer: str
    stride: receptive_field.Pair
    flat: Bool[Tensor, " units"]
    bands: Float[Tensor, "units 3"]
    coverage: float
    aliasing: Float[Tensor, " units"]


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer.

    Attributes:
        layer: its name.
        field: height and width of what a position sees, in pixels.
        step: pixels from a position to the next; 0 where all see the same.
        firing: share of the pictures on which each map fires.
        aliasing: share of the energy of each map's projections that the first layer's stride is
            too coarse for; 0 for a dead map.
    """

    layer: str
    field: receptive_field.Pair
    step: receptive_field.Pair
    firing: Float[Tensor, " units"]
    aliasing: Float[Tensor, " units"]

    @property
    def dead(self) -> Bool[Tensor, " units"]:
        """Which maps fire on no picture."""
        return self.firing == 0

    @property
    def aliased(self) -> Bool[Tensor, " units"]:
        """Which maps answer mostly to waves that the first layer's stride mistakes for others."""
        return self.aliasing > ALIASING_LIMIT


@dataclass(frozen=True)
class Diagnosis:
    """A network's first kernels and its layers."""

    kernels: KernelDiagnosis
    layers: tuple[LayerDiagnosis, ...]

    def table(self) -> list[dict[str, str | int | float]]:
        """Return one row per layer; what only kernels have is in the first layer's row."""
        rows = [
            {
                "layer": row.layer,
                "maps": len(row.firing),
                "dead": float(row.dead.float().mean()),
                "firing": float(row.firing.mean()),
                "field": row.field[0],
                "step": row.step[0],
                "aliasing": float(row.aliasing[~row.dead].mean()) if not row.dead.all() else 0.0,
            }
            for row in self.layers
        ]
        kernels, living = self.kernels, self.kernels.bands[~self.kernels.flat].mean(0)
        first = dict(zip(("low", "middle", "high"), living.tolist(), strict=True))
        first |= {"flat": float(kernels.flat.float().mean()), "coverage": kernels.coverage}
        first["kernel aliasing"] = float(kernels.aliasing[~kernels.flat].mean())
        return [rows[0] | first, *rows[1:]]

    def column(self, name: str) -> list[float]:
        """Return one column of the table that all layers have, such as "dead"."""
        return [row[name] for row in self.table()]


@dataclass(frozen=True)
class DatasetScan:
    """What one pass over a data set found, by layer.

    Attributes:
        top: the strongest pictures of each unit.
        firing: how often each map fires.
    """

    top: dict[str, TopK]
    firing: dict[str, FiringRate]


def scan_dataset(
    model: Model, pictures: ImageSet, layers: Sequence[str], k: int = 9
) -> DatasetScan:
    """Go through a data set once, for `diagnose` and for `top_projections`.

    Args:
        model: the network.
        pictures: the data set.
        layers: dotted names or aliases.
        k: strongest pictures of each unit.
    """
    found = DatasetScan(
        {layer: TopK(min(k, len(pictures))) for layer in layers},
        {layer: FiringRate() for layer in layers},
    )
    batches = ((numbers, images.to(model.device)) for numbers, images in pictures.batches(32))
    tally(model, batches, {layer: [found.top[layer], found.firing[layer]] for layer in layers})
    return found


def improvements(before: Diagnosis, after: Diagnosis) -> dict[str, float]:
    """Return what one design is better at than another in its first two layers.

    Returns:
        "dead": share of maps less; "coverage": of mid frequencies more; "aliasing": energy in the
        second layer less.
    """
    old, new = before.table(), after.table()
    dead = [sum(row["dead"] for row in rows[:2]) / 2 for rows in (old, new)]
    return {
        "dead": dead[0] - dead[1],
        "coverage": new[0]["coverage"] - old[0]["coverage"],
        "aliasing": old[1]["aliasing"] - new[1]["aliasing"],
    }


def diagnose(
    model: Model,
    pictures: ImageSet,
    layers: Sequence[str] | None = None,
    *,
    k: int = 1,
    scanned: DatasetScan | None = None,
) -> Diagnosis:
    """Diagnose a network on a data set.

    Args:
        model: the network.
        pictures: the data set; maps that fire on none of it count as dead.
        layers: dotted names or aliases, each directly before a ReLU or after it; by default the
            stops of the network's tour but the classes.
        k: projections of each map whose aliasing is averaged.
        scanned: what a pass over the same pictures has found already.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer on the way that cannot be reversed.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 6; survey figure F6. The measures are
    this project's.
    """
    layers = list(
        layers or [layer for layer in model.default_layers().values() if layer != "logits"]
    )
    scanned = scanned or scan_dataset(model, pictures, layers, k)
    kernels = diagnose_kernels(model)
    fields = receptive_field.receptive_fields(model, layers, model.card.input_size)
    rows = []
    for layer in layers:
        alias = _projection_aliasing(model, pictures, layer, scanned.top[layer], k, kernels.stride)
        field, shares = fields[layer], scanned.firing[layer].fractions()
        rows.append(LayerDiagnosis(layer, field.size, field.stride, shares, alias))
    return Diagnosis(kernels, tuple(rows))


def _projection_aliasing(
    model: Model, pictures: ImageSet, layer: str, found: TopK, k: int, stride: receptive_field.Pair
) -> Float[Tensor, " units"]:
    """Aliasing of each map's first k projections, a few maps at a time."""
    shares = []
    for units in torch.arange(len(found.values)).split(MAPS_PER_BATCH):
        shown = top_projections(
            model, pictures, [layer], k=k, units={layer: units.tolist()}, found={layer: found}
        )[layer]
        alias = spectra.aliased_fraction(shown.projections.flatten(0, 1), stride)
        shares.append(alias.unflatten(0, shown.images.shape).mean(1))
    return torch.cat(shares)


def diagnose_kernels(model: Model) -> KernelDiagnosis:
    """Diagnose the first convolution by its weights alone."""
    layer, kernels = model.first_conv(), model.kernels().cpu()
    conv: nn.Conv2d = model.net.get_submodule(layer)
    norms = kernels.flatten(1).norm(dim=1)
    flat = norms < FLAT_LIMIT * norms.max()
    power, frequency = spectra.power_spectra(kernels)
    band = torch.bucketize(frequency.norm(dim=0), torch.tensor(spectra.FREQUENCY_BANDS))
    shares = torch.stack([power[:, band == i].sum(1) for i in range(3)], 1)
    best = (power / power.amax((1, 2), keepdim=True).clamp(min=1e-30))[~flat].amax(0)
    covered = (best >= COVERAGE_LIMIT)[band == 1].float().mean()
    stride = conv.stride
    return KernelDiagnosis(
        layer, stride, flat, shares, float(covered), spectra.aliased_fraction(kernels, stride)
    )


@dataclass(frozen=True)
class DesignReport:
    """What Zeiler and Fergus looked at, with what is wrong in it marked by number.

    Attributes:
        diagnosis: of the network.
        filters: the first layer's, as they act on images.
        second: the strongest projection of each map of the second layer.
    """

    diagnosis: Diagnosis
    filters: Float[Tensor, "n 3 h w"]
    second: Float[Tensor, "m 3 y x"]

    @property
    def wrong_filters(self) -> dict[str, list[int]]:
        """First-layer filters that are flat, or whose maps never fire."""
        return {"dead": _true_indices(self.diagnosis.kernels.flat | self.diagnosis.layers[0].dead)}

    @property
    def wrong_second(self) -> dict[str, list[int]]:
        """Maps of the second layer that never fire, and those that alias."""
        second = self.diagnosis.layers[1]
        return {"dead": _true_indices(second.dead), "aliased": _true_indices(second.aliased)}

    @property
    def spectrum(self) -> tuple[Float[Tensor, " rings"], Float[Tensor, " rings"]]:
        """Of the filters that are not flat, see `spectra.spectrum`."""
        return spectra.radial_spectrum(self.filters[~self.diagnosis.kernels.flat])


def _true_indices(mask: Bool[Tensor, " n"]) -> list[int]:
    return mask.nonzero().flatten().tolist()


def design_report(
    model: Model, pictures: ImageSet, layers: Sequence[str], scanned: DatasetScan | None = None
) -> DesignReport:
    """Diagnose a network, and show its first two layers.

    Args:
        model: the network.
        pictures: the data set.
        layers: two or more, from the first convolution on.
        scanned: what a pass over the same pictures has found already.

    Source: survey figure F6.
    """
    if len(layers) < 2:
        raise InputError(f"layers {[*layers]}: expected the first two, at least")
    scanned = scanned or scan_dataset(model, pictures, layers, 1)
    second = top_projections(model, pictures, layers[1:2], k=1, found=scanned.top)[layers[1]]
    diagnosis = diagnose(model, pictures, layers, scanned=scanned)
    return DesignReport(diagnosis, model.kernels().cpu(), second.projections[:, 0])
