"""Reports on a network's design, with its filters and projections, and their comparison (F6)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...core import Bool, Float, InputError, NamedValues, spectra
from ...data import ImageSet, ResizedImages
from ...models import Model, fit_images
from .design import DatasetScan, Diagnosis, diagnose, projected_maps, scan_dataset
from .top_projections import top_projections


@dataclass(frozen=True)
class DesignReport:
    """A diagnosis, with the filters and projections of the first two layers.

    Attributes:
        diagnosis: of the network.
        filters: the first layer's kernels, as they act on images.
        second_layer: projection of the highest activation of each map of the second layer, of
            those of the `projected_maps`.
        accuracy: of the network on held-out images, in [0, 1]; None if unknown.
    """

    diagnosis: Diagnosis
    filters: Float[Tensor, "n c h w"]
    second_layer: Float[Tensor, "m c y x"]
    accuracy: float | None

    @property
    def flagged_filters(self) -> dict[str, list[int]]:
        """First-layer filters that are flat, or whose maps are dead."""
        return {"dead": _true_indices(self.diagnosis.kernels.flat | self.diagnosis.layers[0].dead)}

    @property
    def flagged_second_layer(self) -> dict[str, list[int]]:
        """Maps of the second layer that are dead, and those that alias."""
        second = self.diagnosis.layers[1]
        shown = projected_maps(len(second.dead))
        kinds = {"dead": second.dead, "aliased": second.aliased}
        return {kind: _true_indices(maps[shown]) for kind, maps in kinds.items()}

    @property
    def measures(self) -> dict[str, float | None]:
        """Numbers for `DesignComparison.compare`."""
        first, second = self.diagnosis.layers[:2]
        return {
            "dead": (first.dead_fraction + second.dead_fraction) / 2,
            "coverage": self.diagnosis.kernels.coverage,
            "aliasing": second.mean_aliasing,
            "accuracy": self.accuracy,
        }

    @property
    def spectrum(self) -> tuple[Float[Tensor, " rings"], Float[Tensor, " rings"]]:
        """Radial spectrum of the filters that are not flat, see `core.spectra`."""
        return spectra.radial_spectrum(self.filters[~self.diagnosis.kernels.flat])


def _true_indices(mask: Bool[Tensor, " n"]) -> list[int]:
    return mask.nonzero().flatten().tolist()


def design_report(
    model: Model, dataset: ImageSet, layers: Sequence[str], scan: DatasetScan | None = None
) -> DesignReport:
    """Diagnose a network, and project the maps of its second layer.

    Args:
        model: the network.
        dataset: the images.
        layers: two or more, from the first convolution on.
        scan: the result of `scan_dataset` for the same images and layers; None to compute it.

    Source: survey figure F6.
    """
    if len(layers) < 2:
        raise InputError(f"layers {[*layers]}: expected at least the first two")
    scan = scan or scan_dataset(model, dataset, layers, 1)
    top = {layers[1]: scan.top_images[layers[1]]}
    units = {layers[1]: projected_maps(len(top[layers[1]].values)).tolist()}
    second = top_projections(model, dataset, layers[1:2], k=1, units=units, top_images=top)
    diagnosis = diagnose(model, dataset, layers, scan=scan)
    projections = second[layers[1]].projections[:, 0]
    return DesignReport(diagnosis, model.kernels().cpu(), projections, model.card.accuracy)


@dataclass(frozen=True)
class DesignComparison:
    """Reports on a network and on one of an older design.

    Attributes:
        reports: name of the network -> report; the older design first, if there is one.
    """

    reports: dict[str, DesignReport]

    def compare(self, quantity: str) -> NamedValues:
        """Return a number for each network; none if there is only one, or a number is unknown.

        Args:
            quantity: "dead" (fraction of the maps in the first two layers), "coverage" (fraction of
                middle frequencies that the first layer covers), "aliasing" (mean over the second
                layer) or "accuracy" (on held-out images).
        """
        numbers = {name: one.measures[quantity] for name, one in self.reports.items()}
        known = {name: number for name, number in numbers.items() if number is not None}
        return NamedValues(known if len(known) == 2 else {})


def compare_designs(
    model: Model,
    older: Model | None,
    dataset: ImageSet,
    layers: Sequence[str],
    scan: DatasetScan | None = None,
) -> DesignComparison:
    """Report on a network and on one of another design, on the same images.

    Args:
        model: the network.
        older: a network of another design; None for none. If it does not have these layers, its
            first default layers are used.
        dataset: the images, in the size and channels of `model`; those of `open_images` are
            resized for `older`.
        layers: two or more layers of `model`, from the first convolution on.
        scan: the result of `scan_dataset` for `model` and these layers; None to compute it.
    """
    reports = {}
    if older is not None:
        same = set(layers) <= set(older.layer_aliases)
        its_layers = layers if same else older.conv_layers()[: len(layers)]
        name = older.card.name
        name = name if name != model.card.name else f"{name}, compared"
        its_images = fit_images(older, dataset) if isinstance(dataset, ResizedImages) else dataset
        reports[name] = design_report(older, its_images, its_layers)
    reports[model.card.name] = design_report(model, dataset, layers, scan)
    return DesignComparison(reports)
