"""Explorer of concept vectors: best single unit, combination of units, and sums of vectors."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...core import Float, InputError
from ...methods import dissection, net2vec
from ...methods.dissection import LabelledData
from ...methods.net2vec import PreparedSet, Probes, filter_counts
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls, networks
from .base import Explorer, View
from .board import CAPTION_WIDTH, PENDING
from .units import UnitGrid
from .worker import Request, cached

IMAGES_PER_ROW = 6
CELL, PAGE_HEIGHT = 72, 306  # size of an image, and of the rows that are not folded, in pixels
DEFAULT_SUM = ("grass", "green", "blue")  # plus, minus, plus, if these concepts are known


class LearnedLayer(NamedTuple):
    """What Net2Vec learned in a layer: concept vectors, and the best units for these concepts."""

    probes: Probes
    best: net2vec.BestFilters


class _ScoredRow(NamedTuple):
    """A probe's row of images, and its IoU over all images."""

    tiles: list[Tile]
    iou: float
    probe: Probes


class _OwnImage(NamedTuple):
    """The chosen image, and the network that sees it."""

    model: nn.Module
    name: str
    pixels: Tensor


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
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "Is this concept encoded in one unit, or in many?"
    alt = "Images of a concept with the masks of its best unit, a combination and a sum of vectors."
    imports = (
        "import torch",
        "from cnnvis_lab import models",
        "from cnnvis_lab.methods import net2vec",
    )

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
        atlas: str | Path = "",
    ) -> None:
        self.train, self.validation, self.learned = train, validation, learned
        self._learn, self._loss = partial(net2vec.segment, loss=loss), loss
        self._rows: dict[tuple, _ScoredRow] = {}
        first = layer or list(learned)[-1]
        columns = [int(column) for column in learned[first].probes.concept]
        self.rows = {train.concepts[column].name: row for row, column in enumerate(columns)}
        names, sizes = list(self.rows), filter_counts(train[first].units)
        plus, minus, more = DEFAULT_SUM if set(DEFAULT_SUM) <= set(names) else (names * 3)[:3]
        self._filters = controls.slider("filters", sizes, sizes[-1], width="215px")
        concept = concept or names[0]
        units = {name: train[name].units for name in learned}
        best = int(learned[first].best.unit[self.rows[concept]])
        grid = UnitGrid(units, first, best, atlas=atlas, rows=1)
        self._concept = controls.choice("concept", names, concept)
        grid.layer.observe(self._update_sizes, "value")
        for control in (grid.layer, self._concept):
            control.observe(self._select_best_unit, "value")
        settings = {
            "concept": self._concept,
            "filters": self._filters,
            "plus": controls.choice("A", names, plus, "145px"),
            "minus": controls.choice("- B", names, minus, "145px"),
            "more": controls.choice("+ C", names, more, "145px"),
        }
        super().__init__(model, settings, controls.ImageChoice(model, validation.data), grid)

    @classmethod
    def learn(
        cls,
        model: nn.Module,
        train: LabelledData,
        validation: LabelledData,
        layers: Sequence[str],
        *,
        min_images: int = 5,
    ) -> "Net2Vec":
        """Return a panel of concept vectors that are learned now.

        Args:
            model: the network.
            train: images to learn from, with label maps.
            validation: images to show, with label maps.
            layers: dotted names or aliases.
            min_images: concepts that occur in fewer images of either set are left out.

        Raises:
            InputError: the sets have different concepts, or none that can be learned.
        """
        first, second = net2vec.prepare(model, train, [validation], layers)
        concepts = net2vec.usable_concepts(first, second, min_images=min_images)
        if not concepts:
            raise InputError(f"no concept occurs in {min_images} images of both sets; give more")
        learned = {
            layer: LearnedLayer(
                net2vec.segment(first, layer, concepts),
                net2vec.best_filters(first, second, layer, concepts),
            )
            for layer in layers
        }
        return cls(model, first, second, learned)

    def for_network(self, model: Model) -> "Net2Vec":
        """Return this panel for another network."""
        train, validation = (
            networks.adapt(part.data, model) for part in (self.train, self.validation)
        )
        return Net2Vec.learn(model, train, validation, dissection.conv_layers(model)[-1:])

    def _select_best_unit(self, change: dict) -> None:
        best = self.learned[self._grid.layer.value].best
        with self.hold_requests():
            self._grid.unit.value = int(best.unit[self.rows[self._concept.value]])

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
        unit: int,
        filters: int,
        image: str,
        **others: str,
    ) -> View:
        """Show the masks of a unit, of the combination, and of a sum A - B + C of vectors.

        Args:
            request: the request, with its network.
            layer: dotted name or alias of the layer.
            concept: concept that is segmented; its best unit is chosen.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            filters: number of filters (units) that the combination may use.
            image: another image, on which the masks are shown first.
            others: concept whose vector is a term of the sum A - B + C.
        """
        own = _OwnImage(request.model, image, self.chosen[image])
        best = int(self.learned[layer].best.unit[self.rows[concept]])
        single = self._row(layer, concept, unit=unit)
        first_row = [self._own_tile(own, layer, single.probe), *single.tiles]
        request.preview(lambda: View([first_row], PENDING, CELL, column=CAPTION_WIDTH))
        combined = self._row(layer, concept, filters=filters)
        plus, minus, more = (others[name] for name in ("plus", "minus", "more"))
        total, cosines = self._sum(self.learned[layer].probes, plus, minus, more)
        order, names = cosines.argsort(descending=True)[:3].tolist(), list(self.rows)
        tiles = self._tiles(layer, total, f"A - B + C: {names[order[0]]}")
        rows = [
            first_row,
            [self._own_tile(own, layer, combined.probe), *combined.tiles],
            [self._own_tile(own, layer, total), *tiles],
        ]
        named = self.activity.captioned(own.model, image, own.pixels)
        first_row[0] = first_row[0]._replace(caption=named.caption)
        nearest = ", ".join(f"{names[row]} ({cosines[row]:.2f})" for row in order)
        chosen = "the best unit" if unit == best else f"unit {unit} (best: {best})"
        text = (
            f"{concept}: IoU {single.iou:.3f} by {chosen}, {combined.iou:.3f} by {filters} "
            f"filters.\n{plus} - {minus} + {more} is nearest to {nearest}."
        )
        return View(rows, text, CELL, PAGE_HEIGHT, CAPTION_WIDTH)

    def _data_code(self) -> str:
        """Return the learning of vectors."""
        return f"""from cnnvis_lab.lab import explorers
sets = [explorers.adapt(part.data, model) for part in (train, validation)]
panel = explorers.Net2Vec.learn(model, *sets, {list(self.learned)})
train, validation, learned = panel.train, panel.validation, panel.learned"""

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the calls that score the unit and the combination, of `learned` vectors."""
        row, given = self.rows[at.concept], f"validation, {at.layer!r}"
        column = int(self.learned[at.layer].probes.concept[row])
        return f"""probe = learned[{at.layer!r}].probes.rows([{row}])
if {at.filters} < probe.weights.shape[1]:
    learn = lambda *data, **options: net2vec.segment(*data, loss={self._loss!r}, **options)
    (probe,) = net2vec.learn_subsets(learn, train, {at.layer!r}, probe, [{at.filters}])
single = net2vec.one_hot({given}, torch.tensor([{at.unit}]), [{column}])
result = [float(net2vec.set_iou({given}, each)) for each in (single, probe)]"""

    def _row(self, layer: str, concept: str, *, unit: int = -1, filters: int = 0) -> _ScoredRow:
        """A concept by a unit, or by a number of filters."""

        def make() -> _ScoredRow:
            probe, caption = self._probe(layer, self.rows[concept], unit, filters)
            iou = net2vec.set_iou(self.validation, layer, probe)
            return _ScoredRow(self._tiles(layer, probe, caption), float(iou[0]), probe)

        return cached(self._rows, (layer, concept, unit, filters), make, max_entries=64)

    def _probe(self, layer: str, row: int, unit: int, filters: int) -> tuple[Probes, str]:
        """A probe and its caption; with fewer than all filters it is learned again."""
        probe, best = self.learned[layer].probes.rows([row]), self.learned[layer].best
        if unit >= 0:
            units, column = torch.tensor([unit]), int(probe.concept[0])
            caption = "best unit" if unit == int(best.unit[row]) else "unit"
            return net2vec.one_hot(self.validation, layer, units, [column]), f"{caption}: {unit}"
        if filters < probe.weights.shape[1]:
            (probe,) = net2vec.learn_subsets(self._learn, self.train, layer, probe, [filters])
        return probe, f"filters: {filters}"

    def _own_tile(self, own: _OwnImage, layer: str, probe: Probes) -> Tile:
        """A probe's mask on the chosen image."""
        activations = self.validation[layer]
        maps = self.activity.maps(own.model, layer, own.pixels)
        bits = (maps > activations.thresholds.view(-1, 1, 1)).float()
        scores = torch.einsum("ru,uhw->rhw", probe.weights, bits)
        mask = dissection.upsample(scores[None], activations.grid)[0, 0] > -probe.bias[0]
        return Tile(figures.concepts.masked_image(own.pixels, mask))

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
