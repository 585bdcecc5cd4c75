"""What a network's design shows: maps that never fire, kernels without mid frequencies, aliasing.

Zeiler and Fergus read from such pictures that AlexNet's first layer, 11x11 at stride 4, leaves
mid frequencies out and makes the second layer alias, and chose 7x7 at stride 2 instead. Here the
same is measured, on any network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.quantiles import by_unit
from ..core.receptive import Pair, receptive_fields
from ..core.shapes import Bool, Float
from ..core.tally import TopK, tally
from ..models import Model
from .deconvnet_top import DataSet, top_projections

# Cycles per pixel that part low, middle and high frequencies: waves of 10 and of 4 pixels.
BANDS = (0.1, 0.25)
# Frequencies each way that a spectrum has at least.
SIDE = 32
# A kernel is flat where its norm is below this share of the strongest one's.
FLAT = 0.1
# A frequency is covered where some kernel answers to it with this share of its own best power.
COVERED = 0.5


class Firing:
    """On how many images each unit fires anywhere.

    Attributes:
        counts: (2, units) images it fired on, and images seen.
    """

    def __init__(self) -> None:
        self.counts: Tensor = torch.zeros(2, 0, dtype=torch.int64)

    def update(self, activations: Tensor, images: Tensor) -> None:
        """Take in one batch."""
        fired = by_unit(activations).amax(2) > 0
        self._add(torch.stack([fired.sum(0), torch.full_like(fired[0].long(), len(fired))]).cpu())

    def merge(self, other: "Firing") -> None:
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


@dataclass(frozen=True)
class Kernels:
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
    stride: Pair
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
    field: Pair
    step: Pair
    firing: Float[Tensor, " units"]
    aliasing: Float[Tensor, " units"]

    @property
    def dead(self) -> Bool[Tensor, " units"]:
        """Which maps fire on no picture."""
        return self.firing == 0


@dataclass(frozen=True)
class Diagnosis:
    """A network's first kernels and its layers."""

    kernels: Kernels
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


def diagnose(
    model: Model, pictures: DataSet, layers: Sequence[str] | None = None, *, k: int = 1
) -> Diagnosis:
    """Diagnose a network on a data set.

    Args:
        model: the network.
        pictures: the data set; maps that fire on none of it count as dead.
        layers: dotted names or aliases, each directly before a ReLU or after it; by default the
            stops of the network's tour but the classes.
        k: projections of each map whose aliasing is averaged.

    Raises:
        NameNotFound: no such layer.
        InputError: a layer on the way that cannot be reversed.

    Source: Zeiler and Fergus 2013, section 4.1 and figure 6; survey figure F6. The measures are
    this project's.
    """
    layers = list(layers or [layer for layer in model.tour().values() if layer != "logits"])
    top, firing = {}, {}
    for layer in layers:
        top[layer], firing[layer] = TopK(min(k, len(pictures))), Firing()
    batches = ((numbers, images.to(model.mean.device)) for numbers, images in pictures.batches(32))
    tally(model, batches, {layer: [top[layer], firing[layer]] for layer in layers})
    kernels = kernel_diagnosis(model)
    fields = receptive_fields(model, layers, model.card.input_size)
    rows = []
    for layer in layers:
        shown = top_projections(model, pictures, [layer], found={layer: top[layer]})[layer]
        alias = aliasing(shown.projections.flatten(0, 1), kernels.stride)
        alias = alias.unflatten(0, shown.images.shape).mean(1)
        field = fields[layer]
        rows.append(LayerDiagnosis(layer, field.size, field.stride, firing[layer].shares(), alias))
    return Diagnosis(kernels, tuple(rows))


def kernel_diagnosis(model: Model) -> Kernels:
    """Diagnose the first convolution by its weights alone."""
    layer, kernels = model.first_conv(), model.kernels().cpu()
    conv: nn.Conv2d = model.net.get_submodule(layer)
    norms = kernels.flatten(1).norm(dim=1)
    flat = norms < FLAT * norms.max()
    power, frequency = spectra(kernels)
    band = torch.bucketize(frequency.norm(dim=0), torch.tensor(BANDS))
    shares = torch.stack([power[:, band == i].sum(1) for i in range(3)], 1)
    best = (power / power.amax((1, 2), keepdim=True).clamp(min=1e-30))[~flat].amax(0)
    covered = (best >= COVERED)[band == 1].float().mean()
    stride = conv.stride
    return Kernels(layer, stride, flat, shares, float(covered), aliasing(kernels, stride))


def spectra(
    pictures: Float[Tensor, "n c h w"],
) -> tuple[Float[Tensor, "n y x"], Float[Tensor, "2 y x"]]:
    """Return pictures' power at every frequency.

    Args:
        pictures: kernels or projections; filled up with zeros where smaller than `SIDE`.

    Returns:
        Shares of each one's energy over all channels (they add up to 1, or are 0 for an empty
        picture), and cycles per pixel down and across.
    """
    sides = [max(side, SIDE) for side in pictures.shape[-2:]]
    power = (torch.fft.fft2(pictures, s=sides).abs() ** 2).sum(1)
    lines = [torch.fft.fftfreq(side) for side in sides]
    frequency = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    return power / power.sum((1, 2), keepdim=True).clamp(min=1e-30), frequency


def aliasing(pictures: Float[Tensor, "n c h w"], stride: Pair) -> Float[Tensor, " n"]:
    """Return the share of pictures' energy that sampling at a stride cannot carry.

    Waves shorter than two strides, down or across, come out of such sampling as other, longer
    waves (Nyquist and Shannon).

    Args:
        pictures: kernels or projections, of any size.
        stride: vertical and horizontal, in pixels.

    Returns:
        Energy beyond half a cycle per stride over all energy; 0 without any.
    """
    power, (down, across) = spectra(pictures)
    lost = (down.abs() > 0.5 / stride[0]) | (across.abs() > 0.5 / stride[1])
    return power[:, lost].sum(1)
