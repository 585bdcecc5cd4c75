"""Explorers of concepts: where single units see them, and what combinations of units add."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core.shapes import Float
from ...methods import dissection_one, net2vec
from ...methods import dissection_studies as studies
from ...methods import net2vec_vectors as vectors
from ...methods.dissection import Convention
from ...methods.dissection_probe import named
from ...methods.dissection_table import LayerTable
from ...methods.net2vec_bits import Prepared
from ...methods.net2vec_probe import Probes
from ...methods.net2vec_studies import up_to
from ..concept_figures import masked, overlap
from ..explore import Explorer, View
from ..requests import Job, remembered
from ..tiles import Tile
from . import controls

OWN = "the unit's best"  # in place of a concept: the one the unit fits best
SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
SUM = ("grass", "green", "blue")  # plus, minus, plus: what to begin with where these are known
BESIDE = 6  # pictures in a row
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
        self._maps: dict[str, dissection_one.LayerMaps] = {}
        self._against: dict[int, dissection_one.Against] = {}
        first = layer or list(tables)[-1]
        units = {name: len(table) for name, table in tables.items()}
        best = studies.distinct_units(tables[first], 1)[0]
        self._layer, self._unit = controls.layer_and_unit(units, first, best)
        self._concept = controls.choice("concept", [OWN, *self._names(first)], OWN, "280px")
        self._concept.observe(self._to_best, "value")
        self._layer.observe(self._to_best, "value")
        usual = named(convention).quantile
        shares = [(f"{share:.1%}", share) for share in controls.with_value(SHARES, usual)]
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
        seen = table.pictures >= table.least_pictures
        return sorted({c.name for c, there in zip(table.concepts, seen, strict=True) if there})

    def _to_best(self, change: dict) -> None:
        if self._concept.value != OWN:
            with self.held():
                column = self._column(self._layer.value, 0, self._concept.value)
                self._unit.value = self._best_units(self._layer.value, column)[0]

    def _best_units(self, layer: str, column: int) -> list[int]:
        order = self.tables[layer].iou[:, column].argsort(descending=True, stable=True)
        return order.tolist()

    def _column(self, layer: str, unit: int, concept: str) -> int:
        table = self.tables[layer]
        if concept == OWN:
            return int(table.best()[1][unit])
        return [known.name for known in table.concepts].index(concept)

    def draw(self, job: Job, layer: str, concept: str, unit: int, share: float) -> View:
        """Compare the unit with the concept; the share of activations gives the threshold."""
        table, column = self.tables[layer], self._column(layer, unit, concept)
        maps = self._maps_of(job.model, layer)
        against = remembered(self._against, column, lambda: maps.compare(column))
        usual = maps.plan.convention.quantile
        level = float(table.thresholds[unit]) if share == usual else maps.level(unit, share)
        masks, pictures = maps.masks(unit, level), maps.strongest(unit, BESIDE)
        shown, each = maps.plan.data.batch(pictures), against.each(masks)
        rows = [
            [Tile(masked(p, masks[n], 0.25)) for p, n in zip(shown, pictures, strict=True)],
            [Tile(overlap(masks[n], against.truth[n]), f"IoU {each[n]:.2f}") for n in pictures],
        ]
        return View(rows, self._told(layer, unit, column, against.iou(masks), len(masks)), CELL)

    def _maps_of(self, model: nn.Module, layer: str) -> dissection_one.LayerMaps:
        """One layer's maps at a time; where its concepts are stays good while it is at work."""
        if layer not in self._maps:
            kept = dissection_one.layer_maps(model, self.data, self.tables[layer], self.convention)
            self._maps, self._against = {layer: kept}, {}
        return self._maps[layer]

    def _told(self, layer: str, unit: int, column: int, iou: float, pictures: int) -> str:
        table = self.tables[layer]
        name, best = table.concepts[column].name, studies.named(table, unit)
        others = ", ".join(
            f"{other} ({table.iou[other, column]:.2f})"
            for other in self._best_units(layer, column)[:4]
        )
        return (
            f"Unit {unit} and {name}: IoU {iou:.3f} over {pictures} pictures. It fits {best[0]} "
            f"best ({best[1]:.2f}); units that fit {name} best: {others}. "
            "Second row: orange the unit, blue the concept, white both."
        )


class Learned(NamedTuple):
    """What Net2Vec learned in a layer: vectors of concepts, and the single units beside them."""

    probes: Probes
    best: net2vec.Best


class _Way(NamedTuple):
    """A probe's row of pictures, and its IoU over all of them."""

    row: list[Tile]
    iou: float


class Net2Vec(Explorer):
    """A concept by its best unit and by combinations of units, and sums of concept vectors.

    Args:
        model: the network.
        train: pictures the vectors were learned from.
        validation: pictures they are shown on.
        learned: layer -> its vectors and best single units, of the same concepts in all layers.
        concept: which to begin with; the first learned by default.
        loss: by which combinations of fewer units are learned.
        layer: which to begin with; the last by default.
    """

    title = "Is this concept in one unit, or in many?"
    alt = "Pictures of a concept: where its best unit, a combination and a sum of vectors see it."

    def __init__(
        self,
        model: nn.Module,
        train: Prepared,
        validation: Prepared,
        learned: Mapping[str, Learned],
        *,
        concept: str = "",
        loss: str = "linear",
        layer: str = "",
    ) -> None:
        self.train, self.validation, self.learned, self.loss = train, validation, learned, loss
        self._ways: dict[tuple, _Way] = {}
        first = layer or list(learned)[-1]
        columns = [int(column) for column in learned[first].probes.concept]
        self.rows = {train.concepts[column].name: row for row, column in enumerate(columns)}
        names, sizes = list(self.rows), up_to(train[first].units)
        plus, minus, more = SUM if set(SUM) <= set(names) else (names * 3)[:3]
        self._filters = controls.slider("filters", sizes, sizes[-1])
        layers = controls.choice("layer", list(learned), first)
        layers.observe(self._fit, "value")
        moved = {
            "layer": layers,
            "concept": controls.choice("concept", names, concept or names[0]),
            "filters": self._filters,
            "plus": controls.choice("sum:", names, plus, "200px"),
            "minus": controls.choice("less", names, minus, "200px"),
            "more": controls.choice("and", names, more, "200px"),
        }
        super().__init__(model, moved)

    def _fit(self, change: dict) -> None:
        """Offer as many filters as the layer has; all of them stay all of them."""
        sizes, before = up_to(self.train[change["new"]].units), self._filters
        kept = before.value if before.value in sizes else sizes[-1]
        kept = sizes[-1] if before.value == before.options[-1] else kept
        with self.held():
            before.options, before.value = sizes, kept

    def draw(
        self, job: Job, layer: str, concept: str, filters: int, plus: str, minus: str, more: str
    ) -> View:
        """Show the masks of the best unit, of the combination, and of the sum of vectors."""
        one, few = (self._way(layer, self.rows[concept], size) for size in (0, filters))
        summed, near = self._sum(self.learned[layer].probes, plus, minus, more)
        order, names = near.argsort(descending=True)[:3].tolist(), list(self.rows)
        answer = self._row(layer, summed, f"the sum, on {names[order[0]]}")
        nearest = ", ".join(f"{names[other]} ({near[other]:.2f})" for other in order)
        text = (
            f"{concept}: IoU {one.iou:.3f} by the best unit, {few.iou:.3f} by {filters} filters. "
            f"{plus} - {minus} + {more} is nearest to {nearest}."
        )
        return View([one.row, few.row, answer], text, CELL)

    def _way(self, layer: str, row: int, filters: int) -> _Way:
        """A concept by its best single unit (0), or by so many filters."""

        def make() -> _Way:
            probe, words = self._probe(layer, row, filters)
            iou = net2vec.set_iou(self.validation, layer, probe)
            return _Way(self._row(layer, probe, words), float(iou[0]))

        return remembered(self._ways, (layer, row, filters), make, 64)

    def _probe(self, layer: str, row: int, filters: int) -> tuple[Probes, str]:
        """A probe and its name; learned again where it may use some of the filters only."""
        whole, best = self.learned[layer].probes.rows([row]), self.learned[layer].best
        column = int(whole.concept[0])
        if not filters:
            unit = best.unit[column][None]
            probe = net2vec.one_hot(self.validation, layer, unit, [column])
            return probe, f"best unit: {int(unit)}"
        if filters < whole.weights.shape[1]:
            sizes, knobs = [filters], {"loss": self.loss}
            (whole,) = net2vec.subsets(net2vec.segment, self.train, layer, whole, sizes, **knobs)
        return whole, f"filters: {filters}"

    def _sum(
        self, probes: Probes, plus: str, minus: str, more: str
    ) -> tuple[Probes, Float[Tensor, " concepts"]]:
        """The sum of three vectors of unit length, for the nearest concept, and all cosines."""
        a, b, c = (self.rows[name] for name in (plus, minus, more))
        near = vectors.combine(probes.weights, [a, c], [b])
        unit = nn.functional.normalize(probes.weights, dim=1)
        nearest = probes.concept[near.argmax()][None]
        return Probes((unit[a] - unit[b] + unit[c])[None], torch.zeros(1), nearest), near

    def _row(self, layer: str, probe: Probes, words: str) -> list[Tile]:
        """A probe's masks on pictures that show its concept well."""
        pictures = self._pictures(int(probe.concept[0]))
        shown = self.validation.data.batch(pictures)
        seen = net2vec.masks(self.validation, layer, probe, pictures)[0]
        tiles = [Tile(masked(p, m, 0.25)) for p, m in zip(shown, seen, strict=True)]
        return [tiles[0]._replace(words=words), *tiles[1:]]

    def _pictures(self, column: int) -> Sequence[int]:
        shown = self.validation.shown
        own = shown.concept == column
        large = own & (shown.fraction >= shown.fraction[own].median())
        return shown.picture[large][:BESIDE].tolist()
