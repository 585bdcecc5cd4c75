"""Explorers of concepts: where single units see them, and what combinations of units add."""

from collections.abc import Mapping

from torch import nn

from ...methods import dissection
from ...methods.dissection import Convention, LayerTable, get_convention
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request, cached

BEST_CONCEPT = "the unit's best"  # in place of a concept: the one the unit fits best
FRACTIONS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
IMAGES_PER_ROW = 6  # pictures in a row
CELL = 128


class Dissection(Explorer):
    """Units by concept, and concepts by unit, with masks at any threshold.

    Choosing a concept takes the panel to the unit that fits it best; the unit can then be changed.

    Args:
        model: the dissected network.
        data: the pictures it was dissected on.
        tables: layer -> what was found.
        convention: as it was dissected.
        layer: which to begin with; the last by default.
    """

    title = "Which concept does this unit detect, and which units this concept?"
    alt = "A unit's strongest pictures where it is active, and its overlap with a concept on them."

    def __init__(
        self,
        model: nn.Module,
        data: object,
        tables: Mapping[str, LayerTable],
        *,
        convention: str | Convention = "original",
        layer: str = "",
    ) -> None:
        self.data, self.tables, self.convention = data, dict(tables), convention
        self._maps: dict[str, dissection.LayerMaps] = {}
        self._against: dict[int, dissection.ConceptComparison] = {}
        first = layer or list(tables)[-1]
        units = {name: len(table) for name, table in tables.items()}
        best = dissection.distinct_units(tables[first], 1)[0]
        self._layer, self._unit = controls.layer_and_unit(units, first, best)
        self._concept = controls.choice(
            "concept", [BEST_CONCEPT, *self._names(first)], BEST_CONCEPT, "280px"
        )
        self._concept.observe(self._to_best, "value")
        self._layer.observe(self._to_best, "value")
        usual = get_convention(convention).quantile
        shares = [(f"{share:.1%}", share) for share in controls.with_value(FRACTIONS, usual)]
        moved = {
            "layer": self._layer,
            "concept": self._concept,
            "unit": self._unit,
            "share": controls.slider("share of activations above", shares, usual, live=True),
        }
        super().__init__(model, moved)

    def _names(self, layer: str) -> list[str]:
        """The concepts that any unit can be compared with, in order."""
        table = self.tables[layer]
        seen = table.concept_images >= table.min_images
        return sorted({c.name for c, there in zip(table.concepts, seen, strict=True) if there})

    def _to_best(self, change: dict) -> None:
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

    def draw(self, request: Request, layer: str, concept: str, unit: int, share: float) -> View:
        """Compare the unit with the concept; the share of activations gives the threshold."""
        table, column = self.tables[layer], self._column(layer, unit, concept)
        maps = self._maps_of(request.model, layer)
        against = cached(self._against, column, lambda: maps.compare(column))
        usual = maps.plan.convention.quantile
        level = float(table.thresholds[unit]) if share == usual else maps.threshold_at(unit, share)
        masks, pictures = maps.masks(unit, level), maps.top_images(unit, IMAGES_PER_ROW)
        shown, each = maps.plan.data.batch(pictures), against.iou_per_image(masks)
        rows = [
            [
                Tile(figures.concepts.masked_image(p, masks[n], 0.25))
                for p, n in zip(shown, pictures, strict=True)
            ],
            [
                Tile(
                    figures.concepts.overlap_image(masks[n], against.concept[n]),
                    f"IoU {each[n]:.2f}",
                )
                for n in pictures
            ],
        ]
        return View(rows, self._told(layer, unit, column, against.iou(masks), len(masks)), CELL)

    def _maps_of(self, model: nn.Module, layer: str) -> dissection.LayerMaps:
        """One layer's maps at a time; where its concepts are stays good while it is at work."""
        if layer not in self._maps:
            kept = dissection.layer_maps(model, self.data, self.tables[layer], self.convention)
            self._maps, self._against = {layer: kept}, {}
        return self._maps[layer]

    def _told(self, layer: str, unit: int, column: int, iou: float, pictures: int) -> str:
        table = self.tables[layer]
        name, best = table.concepts[column].name, dissection.best_concept(table, unit)
        others = ", ".join(
            f"{other} ({table.iou[other, column]:.2f})"
            for other in self._best_units(layer, column)[:4]
        )
        return (
            f"Unit {unit} and {name}: IoU {iou:.3f} over {pictures} pictures. It fits {best[0]} "
            f"best ({best[1]:.2f}); units that fit {name} best: {others}. "
            "Second row: orange the unit, blue the concept, white both."
        )
