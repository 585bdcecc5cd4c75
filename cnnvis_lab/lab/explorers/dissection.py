"""Explorer of dissected units: masks at any threshold, compared with any concept."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from ...core import choose
from ...methods import dissection
from ...methods.dissection import Convention, LabelledData, LayerTable
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls, networks
from .base import Explorer, View
from .board import PENDING
from .units import UnitGrid
from .worker import Request, cached

BEST_CONCEPT = "the unit's best"  # the option for the concept with the unit's highest IoU
FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
IMAGES_PER_ROW = 6
CELL = 96


class Dissection(Explorer):
    """Units by concept, and concepts by unit, with masks at any threshold.

    Choosing a concept selects the unit that fits it best; the unit can then be changed.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        tables: layer -> its table; None dissects the convolutions of the network now.
        convention: that of the dissection.
        layer: the initial layer; the last by default.
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "Which concept does this unit detect, and which units detect this concept?"
    alt = "A unit's top-activating images where it is active, and its overlap with a concept."
    imports = (
        "from cnnvis_lab import data, models",
        "from cnnvis_lab.methods import dissection",
    )

    def __init__(
        self,
        model: Model,
        data: LabelledData,
        tables: Mapping[str, LayerTable] | None = None,
        *,
        convention: str | Convention = "original",
        layer: str = "",
        atlas: str | Path = "",
    ) -> None:
        tables = tables or dissection.dissect(
            model, data, dissection.conv_layers(model), convention=convention, top=1
        )
        self.data, self.tables, self.convention = data, dict(tables), convention
        self._maps: dict[str, dissection.LayerMaps] = {}
        self._comparisons: dict[int, dissection.ConceptComparison] = {}
        first = layer or list(tables)[-1]
        units = {name: len(table) for name, table in tables.items()}
        best = dissection.distinct_units(tables[first], 1)[0]
        grid = UnitGrid(units, first, best, atlas=atlas, rows=1)
        concepts = [BEST_CONCEPT, *self._names(first)]
        self._concept = controls.choice("concept", concepts, BEST_CONCEPT, "230px")
        self._concept.observe(self._select_best_unit, "value")
        grid.layer.observe(self._select_best_unit, "value")
        default = choose("convention", convention, dissection.CONVENTIONS).quantile
        self._quantile = default
        values = controls.with_value(FRACTIONS, default)
        fractions = [(f"{fraction:.1%}", fraction) for fraction in values]
        settings = {
            "concept": self._concept,
            "fraction": controls.slider(
                "fraction of activations above", fractions, default, live=True, width="460px"
            ),
        }
        super().__init__(model, settings, controls.ImageChoice(model, data), grid)

    def for_network(self, model: Model) -> "Dissection":
        """Return this panel for another network."""
        return Dissection(model, networks.adapt(self.data, model), convention=self.convention)

    def _names(self, layer: str) -> list[str]:
        """The names of the concepts in enough images, sorted."""
        table = self.tables[layer]
        enough = table.concept_images >= table.min_images
        return sorted({c.name for c, known in zip(table.concepts, enough, strict=True) if known})

    def _select_best_unit(self, change: dict) -> None:
        if self._concept.value != BEST_CONCEPT:
            with self.hold_requests():
                layer = self._grid.layer.value
                column = self._column(layer, 0, self._concept.value)
                self._grid.unit.value = self._best_units(layer, column)[0]

    def _best_units(self, layer: str, column: int) -> list[int]:
        order = self.tables[layer].iou[:, column].argsort(descending=True, stable=True)
        return order.tolist()

    def _column(self, layer: str, unit: int, concept: str) -> int:
        table = self.tables[layer]
        if concept == BEST_CONCEPT:
            return int(table.best()[1][unit])
        return [known.name for known in table.concepts].index(concept)

    def draw(
        self, request: Request, layer: str, concept: str, unit: int, fraction: float, image: str
    ) -> View:
        """Compare the unit with the concept, at the threshold that the fraction determines.

        Args:
            request: the request, with its network.
            layer: dotted name or alias of the layer.
            concept: concept that the unit is compared with; its best unit is chosen.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            fraction: fraction of the unit's activations that exceed its threshold.
            image: another image, on which the unit's mask is shown first.
        """
        column = self._column(layer, unit, concept)
        own = Tile(self.chosen[image], "unit orange,\nconcept blue")
        if layer not in self._maps:
            threshold = float(self.tables[layer].thresholds[unit])
            first = self._own_tile(request.model, layer, unit, threshold, image)
            request.preview(lambda: View([[first], [own]], PENDING, CELL))
        maps = self._layer_maps(request.model, layer)
        comparison = cached(self._comparisons, column, lambda: maps.compare(column))
        threshold = self._threshold(maps, layer, unit, fraction)
        masks, indices = maps.masks(unit, threshold), maps.top_images(unit, IMAGES_PER_ROW)
        images, iou = maps.plan.data.batch(indices), comparison.iou_per_image(masks)
        masked, overlap = [self._own_tile(request.model, layer, unit, threshold, image)], []
        for pixels, index in zip(images, indices, strict=True):
            mask, truth = masks[index], comparison.concept[index]
            masked.append(Tile(figures.concepts.masked_image(pixels, mask)))
            both = figures.concepts.overlap_image(mask, truth)
            overlap.append(Tile(both, f"IoU {iou[index]:.2f}"))
        masked[1] = masked[1]._replace(caption="above the threshold")
        text = self._describe(layer, unit, column, comparison.iou(masks), len(masks))
        return View([masked, [own, *overlap]], text, CELL)

    def _threshold(
        self, maps: dissection.LayerMaps, layer: str, unit: int, fraction: float
    ) -> float:
        if fraction == maps.plan.convention.quantile:
            return float(self.tables[layer].thresholds[unit])
        return maps.threshold_at(unit, fraction)

    def _own_tile(
        self, model: nn.Module, layer: str, unit: int, threshold: float, name: str
    ) -> Tile:
        """The unit's mask on the chosen image, and the network's prediction."""
        pixels = self.chosen[name]
        thresholds = torch.full_like(self.tables[layer].thresholds, threshold)
        device = next(model.parameters()).device
        mask = dissection.unit_masks(
            model, pixels[None].to(device), layer, thresholds, [unit], convention=self.convention
        )[0, 0]
        tile = self.activity.captioned(model, name, pixels)
        return tile._replace(image=figures.concepts.masked_image(pixels, mask))

    def _data_code(self) -> str:
        """Return the dissection of all convolutions."""
        options = f"convention={self._convention_code()}, top=1"
        call = f"dissection.dissect(model, dataset, dissection.conv_layers(model), {options})"
        return f"{networks.ADAPT}\ntables = {call}"

    def _convention_code(self) -> str:
        return repr(self.convention) if isinstance(self.convention, str) else "convention"

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the calls that compute the unit's mask on the image, and its IoU."""
        convention = self._convention_code()
        fitting, threshold = f"{at.concept!r}", f"maps.threshold_at({at.unit}, {at.fraction})"
        if at.fraction == self._quantile:
            threshold = f"float(table.thresholds[{at.unit}])"
        if at.concept == BEST_CONCEPT:
            fitting = f"dissection.best_concept(table, {at.unit})[0]"
        return f"""table = tables[{at.layer!r}]
maps = dissection.layer_maps(model, dataset, table, {convention})
threshold = {threshold}
column = [concept.name for concept in table.concepts].index({fitting})
iou = maps.compare(column).iou(maps.masks({at.unit}, threshold))
image = {self.chosen.code(at.image)}
thresholds = table.thresholds.clone()
thresholds[{at.unit}] = threshold
result = dissection.unit_masks(
    model, image[None], {at.layer!r}, thresholds, [{at.unit}], convention={convention}
)[0, 0]"""

    def _layer_maps(self, model: nn.Module, layer: str) -> dissection.LayerMaps:
        """The maps of one layer at a time; a new layer invalidates the comparisons."""
        if layer not in self._maps:
            maps = dissection.layer_maps(model, self.data, self.tables[layer], self.convention)
            self._maps, self._comparisons = {layer: maps}, {}
        return self._maps[layer]

    def _describe(self, layer: str, unit: int, column: int, iou: float, images: int) -> str:
        table = self.tables[layer]
        name, (best, best_iou) = table.concepts[column].name, dissection.best_concept(table, unit)
        unit_name = f"{layer.removesuffix('.relu')}:{unit}"
        units = ", ".join(
            f"{other} ({table.iou[other, column]:.2f})"
            for other in self._best_units(layer, column)[:4]
        )
        return (
            f"{unit_name} and {name}: IoU {iou:.3f} over {images} images. The unit's best concept "
            f"is {best} ({best_iou:.2f}); the best units for {name} are {units}."
        )
