"""Explorer of concept vectors: best single unit, combination of units, and sums of vectors."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core import Float
from ...methods import net2vec
from ...methods.net2vec import PreparedSet, Probes, filter_counts
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .dissection import CELL, IMAGES_PER_ROW
from .worker import Request, cached

DEFAULT_SUM = (
    "grass",
    "green",
    "blue",
)  # plus, minus, plus: what to begin with where these are known


class LearnedLayer(NamedTuple):
    """What Net2Vec learned in a layer: vectors of concepts, and the single units beside them."""

    probes: Probes
    best: net2vec.BestFilters


class _ScoredRow(NamedTuple):
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
        train: PreparedSet,
        validation: PreparedSet,
        learned: Mapping[str, LearnedLayer],
        *,
        concept: str = "",
        loss: str = "linear",
        layer: str = "",
    ) -> None:
        self.train, self.validation, self.learned, self.loss = train, validation, learned, loss
        self._ways: dict[tuple, _ScoredRow] = {}
        first = layer or list(learned)[-1]
        columns = [int(column) for column in learned[first].probes.concept]
        self.rows = {train.concepts[column].name: row for row, column in enumerate(columns)}
        names, sizes = list(self.rows), filter_counts(train[first].units)
        plus, minus, more = DEFAULT_SUM if set(DEFAULT_SUM) <= set(names) else (names * 3)[:3]
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
        sizes, before = filter_counts(self.train[change["new"]].units), self._filters
        kept = before.value if before.value in sizes else sizes[-1]
        kept = sizes[-1] if before.value == before.options[-1] else kept
        with self.hold_requests():
            before.options, before.value = sizes, kept

    def draw(
        self,
        request: Request,
        layer: str,
        concept: str,
        filters: int,
        plus: str,
        minus: str,
        more: str,
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

    def _way(self, layer: str, row: int, filters: int) -> _ScoredRow:
        """A concept by its best single unit (0), or by so many filters."""

        def make() -> _ScoredRow:
            probe, words = self._probe(layer, row, filters)
            iou = net2vec.set_iou(self.validation, layer, probe)
            return _ScoredRow(self._row(layer, probe, words), float(iou[0]))

        return cached(self._ways, (layer, row, filters), make, 64)

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
            (whole,) = net2vec.learn_subsets(
                net2vec.segment, self.train, layer, whole, sizes, **knobs
            )
        return whole, f"filters: {filters}"

    def _sum(
        self, probes: Probes, plus: str, minus: str, more: str
    ) -> tuple[Probes, Float[Tensor, " concepts"]]:
        """The sum of three vectors of unit length, for the nearest concept, and all cosines."""
        a, b, c = (self.rows[name] for name in (plus, minus, more))
        near = net2vec.combine(probes.weights, [a, c], [b])
        unit = nn.functional.normalize(probes.weights, dim=1)
        nearest = probes.concept[near.argmax()][None]
        return Probes((unit[a] - unit[b] + unit[c])[None], torch.zeros(1), nearest), near

    def _row(self, layer: str, probe: Probes, words: str) -> list[Tile]:
        """A probe's masks on pictures that show its concept well."""
        pictures = self._pictures(int(probe.concept[0]))
        shown = self.validation.data.batch(pictures)
        seen = net2vec.masks(self.validation, layer, probe, pictures)[0]
        tiles = [
            Tile(figures.concepts.masked_image(p, m, 0.25))
            for p, m in zip(shown, seen, strict=True)
        ]
        return [tiles[0]._replace(caption=words), *tiles[1:]]

    def _pictures(self, column: int) -> Sequence[int]:
        shown = self.validation.shown
        own = shown.concept == column
        large = own & (shown.fraction >= shown.fraction[own].median())
        return shown.picture[large][:IMAGES_PER_ROW].tolist()
