"""Explorer of concept vectors: best single unit, combination of units, and sums of vectors."""

from collections.abc import Mapping
from functools import partial
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
from .worker import Request, cached

IMAGES_PER_ROW = 6
CELL = 128
DEFAULT_SUM = ("grass", "green", "blue")  # plus, minus, plus, if these concepts are known


class LearnedLayer(NamedTuple):
    """What Net2Vec learned in a layer: concept vectors, and the best units for these concepts."""

    probes: Probes
    best: net2vec.BestFilters


class _ScoredRow(NamedTuple):
    """A probe's row of images, and its IoU over all images."""

    tiles: list[Tile]
    iou: float


class Net2Vec(Explorer):
    """A concept by its best unit and by combinations of units, and sums of concept vectors.

    Args:
        model: the network.
        train: images the vectors were learned from.
        validation: images to show.
        learned: layer -> its vectors and best single units, of the same concepts in all layers.
        concept: the initial concept; the first learned by default.
        loss: the loss by which combinations of fewer units are learned.
        layer: the initial layer; the last by default.
    """

    title = "Is this concept encoded in one unit, or in many?"
    alt = "Images of a concept with the masks of its best unit, a combination and a sum of vectors."

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
        self.train, self.validation, self.learned = train, validation, learned
        self._learn = partial(net2vec.segment, loss=loss)
        self._rows: dict[tuple, _ScoredRow] = {}
        first = layer or list(learned)[-1]
        columns = [int(column) for column in learned[first].probes.concept]
        self.rows = {train.concepts[column].name: row for row, column in enumerate(columns)}
        names, sizes = list(self.rows), filter_counts(train[first].units)
        plus, minus, more = DEFAULT_SUM if set(DEFAULT_SUM) <= set(names) else (names * 3)[:3]
        self._filters = controls.slider("filters", sizes, sizes[-1])
        layers = controls.choice("layer", list(learned), first)
        layers.observe(self._update_sizes, "value")
        settings = {
            "layer": layers,
            "concept": controls.choice("concept", names, concept or names[0]),
            "filters": self._filters,
            "plus": controls.choice("A", names, plus, "200px"),
            "minus": controls.choice("- B", names, minus, "200px"),
            "more": controls.choice("+ C", names, more, "200px"),
        }
        super().__init__(model, settings)

    def _update_sizes(self, change: dict) -> None:
        """Offer the filter counts of the new layer; the choice of all filters is kept."""
        sizes, slider = filter_counts(self.train[change["new"]].units), self._filters
        is_all = slider.value == slider.options[-1]
        value = sizes[-1] if is_all or slider.value not in sizes else slider.value
        with self.hold_requests():
            slider.options, slider.value = sizes, value

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
        """Show the masks of the best unit, of the combination, and of the sum of vectors.

        Args:
            request: the request, with its network.
            layer: dotted name or alias.
            concept: name of the concept.
            filters: how many filters the combination may use.
            plus: concept whose vector is added.
            minus: concept whose vector is subtracted.
            more: concept whose vector is added as well.
        """
        single, combined = (self._row(layer, self.rows[concept], n) for n in (0, filters))
        total, cosines = self._sum(self.learned[layer].probes, plus, minus, more)
        order, names = cosines.argsort(descending=True)[:3].tolist(), list(self.rows)
        answer = self._tiles(layer, total, f"A - B + C, on images of {names[order[0]]}")
        nearest = ", ".join(f"{names[row]} ({cosines[row]:.2f})" for row in order)
        text = (
            f"{concept}: IoU {single.iou:.3f} by the best unit, {combined.iou:.3f} by {filters} "
            f"filters. {plus} - {minus} + {more} is nearest to {nearest}."
        )
        return View([single.tiles, combined.tiles, answer], text, CELL)

    def _row(self, layer: str, row: int, filters: int) -> _ScoredRow:
        """A concept by its best single unit (0), or by a number of filters."""

        def make() -> _ScoredRow:
            probe, caption = self._probe(layer, row, filters)
            iou = net2vec.set_iou(self.validation, layer, probe)
            return _ScoredRow(self._tiles(layer, probe, caption), float(iou[0]))

        return cached(self._rows, (layer, row, filters), make, 64)

    def _probe(self, layer: str, row: int, filters: int) -> tuple[Probes, str]:
        """A probe and its caption; with fewer than all filters it is learned again."""
        probe, best = self.learned[layer].probes.rows([row]), self.learned[layer].best
        column = int(probe.concept[0])
        if not filters:
            unit = best.unit[row][None]
            single = net2vec.one_hot(self.validation, layer, unit, [column])
            return single, f"best unit: {int(unit)}"
        if filters < probe.weights.shape[1]:
            (probe,) = net2vec.learn_subsets(self._learn, self.train, layer, probe, [filters])
        return probe, f"filters: {filters}"

    def _sum(
        self, probes: Probes, plus: str, minus: str, more: str
    ) -> tuple[Probes, Float[Tensor, " concepts"]]:
        """The sum of three unit vectors as a probe for the nearest concept, and all cosines."""
        a, b, c = (self.rows[name] for name in (plus, minus, more))
        cosines = net2vec.combine(probes.weights, [a, c], [b])
        unit = nn.functional.normalize(probes.weights, dim=1)
        nearest = probes.concept[cosines.argmax()][None]
        return Probes((unit[a] - unit[b] + unit[c])[None], torch.zeros(1), nearest), cosines

    def _tiles(self, layer: str, probe: Probes, caption: str) -> list[Tile]:
        """A probe's masks on images in which its concept is large."""
        examples = net2vec.examples(self.validation, layer, probe, IMAGES_PER_ROW)
        tiles = [Tile(figures.concepts.masked_image(e.image, e.mask)) for e in examples]
        return [tiles[0]._replace(caption=caption), *tiles[1:]]
