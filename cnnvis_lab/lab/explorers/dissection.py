"""Explorer of dissected units: masks at any threshold, compared with any concept."""

from collections.abc import Mapping

from torch import nn

from ...core import choose
from ...methods import dissection
from ...methods.dissection import Convention, LabelledData, LayerTable
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request, cached

BEST_CONCEPT = "the unit's best"  # the option for the concept with the unit's highest IoU
FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
IMAGES_PER_ROW = 6
CELL = 128


class Dissection(Explorer):
    """Units by concept, and concepts by unit, with masks at any threshold.

    Choosing a concept selects the unit that fits it best; the unit can then be changed.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        tables: layer -> its table.
        convention: that of the dissection.
        layer: the initial layer; the last by default.
    """

    title = "Which concept does this unit detect, and which units detect this concept?"
    alt = "A unit's top-activating images where it is active, and its overlap with a concept."

    def __init__(
        self,
        model: nn.Module,
        data: LabelledData,
        tables: Mapping[str, LayerTable],
        *,
        convention: str | Convention = "original",
        layer: str = "",
    ) -> None:
        self.data, self.tables, self.convention = data, dict(tables), convention
        self._maps: dict[str, dissection.LayerMaps] = {}
        self._comparisons: dict[int, dissection.ConceptComparison] = {}
        first = layer or list(tables)[-1]
        units = {name: len(table) for name, table in tables.items()}
        best = dissection.distinct_units(tables[first], 1)[0]
        self._layer, self._unit = controls.layer_and_unit(units, first, best)
        concepts = [BEST_CONCEPT, *self._names(first)]
        self._concept = controls.choice("concept", concepts, BEST_CONCEPT, "280px")
        self._concept.observe(self._select_best_unit, "value")
        self._layer.observe(self._select_best_unit, "value")
        default = choose("convention", convention, dissection.CONVENTIONS).quantile
        values = controls.with_value(FRACTIONS, default)
        fractions = [(f"{fraction:.1%}", fraction) for fraction in values]
        settings = {
            "layer": self._layer,
            "concept": self._concept,
            "unit": self._unit,
            "fraction": controls.slider(
                "fraction of activations above", fractions, default, live=True
            ),
        }
        super().__init__(model, settings)

    def _names(self, layer: str) -> list[str]:
        """The names of the concepts in enough images, sorted."""
        table = self.tables[layer]
        enough = table.concept_images >= table.min_images
        return sorted({c.name for c, known in zip(table.concepts, enough, strict=True) if known})

    def _select_best_unit(self, change: dict) -> None:
        if self._concept.value != BEST_CONCEPT:
            with self.hold_requests():
                column = self._column(self._layer.value, 0, self._concept.value)
                self._unit.value = self._best_units(self._layer.value, column)[0]

    def _best_units(self, layer: str, column: int) -> list[int]:
        order = self.tables[layer].iou[:, column].argsort(descending=True, stable=True)
        return order.tolist()

    def _column(self, layer: str, unit: int, concept: str) -> int:
        table = self.tables[layer]
        if concept == BEST_CONCEPT:
            return int(table.best()[1][unit])
        return [known.name for known in table.concepts].index(concept)

    def draw(self, request: Request, layer: str, concept: str, unit: int, fraction: float) -> View:
        """Compare the unit with the concept, at the threshold that the fraction determines.

        Args:
            request: the request, with its network.
            layer: dotted name or alias.
            concept: name of a concept, or `BEST_CONCEPT`.
            unit: index of the unit.
            fraction: of the unit's activations that exceed its threshold.
        """
        table, column = self.tables[layer], self._column(layer, unit, concept)
        maps = self._layer_maps(request.model, layer)
        comparison = cached(self._comparisons, column, lambda: maps.compare(column))
        threshold = float(table.thresholds[unit])
        if fraction != maps.plan.convention.quantile:
            threshold = maps.threshold_at(unit, fraction)
        masks, indices = maps.masks(unit, threshold), maps.top_images(unit, IMAGES_PER_ROW)
        images, iou = maps.plan.data.batch(indices), comparison.iou_per_image(masks)
        masked, overlap = [], []
        for image, index in zip(images, indices, strict=True):
            mask, truth = masks[index], comparison.concept[index]
            masked.append(Tile(figures.concepts.masked_image(image, mask)))
            both = figures.concepts.overlap_image(mask, truth)
            overlap.append(Tile(both, f"IoU {iou[index]:.2f}"))
        text = self._describe(layer, unit, column, comparison.iou(masks), len(masks))
        return View([masked, overlap], text, CELL)

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
            f"is {best} ({best_iou:.2f}); the best units for {name} are {units}. "
            "First row: outlined where the unit's activation exceeds the threshold. Second row: "
            "the unit is orange, the concept blue, and their overlap white."
        )
