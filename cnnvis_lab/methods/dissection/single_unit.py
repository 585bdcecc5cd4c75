"""One dissected unit against one concept, at any threshold: what a slider can ask for."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core import Bool, Float, InputError
from .analysis import best_concept
from .conventions import Convention
from .dissect import unit_masks
from .grid import units_last, upsample
from .masks import active_pixels, cells_above
from .plan import Plan, labelled_data, make_plan
from .table import LayerTable

MEMORY_LIMIT = 2**28  # bytes of maps that are kept


@dataclass(frozen=True)
class LayerMaps:
    """A layer's maps over pictures, and how they are compared with concepts.

    Attributes:
        table: what was found in the layer.
        plan: the pictures, and where the maps' positions lie among label pixels.
        maps: (pictures, units, h, w), of the first pictures only where all would not fit.
    """

    table: LayerTable
    plan: Plan
    maps: Float[Tensor, "n units h w"]

    def masks(self, unit: int, threshold: float) -> Bool[Tensor, "n y x"]:
        """Return where a unit exceeds a threshold, at label resolution."""
        grid, levels = self.plan.grids[self.table.layer], np.float32([threshold])
        cells = cells_above(units_last(self.maps[:, unit : unit + 1]), levels)
        on = torch.zeros(len(self.maps), grid.rows.length, grid.columns.length, dtype=torch.bool)
        for part in active_pixels(cells, grid, levels, binary=self.plan.convention.binary):
            on.view(-1)[torch.from_numpy(part.pixel)] = True
        return on

    def strongest(self, unit: int, count: int) -> list[int]:
        """Return the numbers of the pictures that excite a unit most, strongest first."""
        peaks = self.maps[:, unit].flatten(1).amax(1)
        return peaks.topk(min(count, len(peaks))).indices.tolist()

    def level(self, unit: int, share: float) -> float:
        """Return the activation that a share of a unit's activations exceed.

        Args:
            unit: the unit, from 0.
            share: of the activations, upsampled or not as the convention says; 0 to 1.
        """
        one = self.maps[:, unit : unit + 1]
        if self.plan.convention.upsampled:
            one = upsample(one, self.plan.grids[self.table.layer])
        values = one.numpy().ravel()
        place = max(len(values) - 1 - max(1, round(share * len(values))), 0)
        return float(np.partition(values, place)[place])

    def compare(self, column: int) -> "ConceptComparison":
        """Return where the pictures show a concept, by its column in the table."""
        label = self.table.concepts[column]
        alike = [c.number for c in self.table.concepts if c.category == label.category]
        truth, others, wanted = [], [], torch.tensor(alike)
        for part in torch.arange(len(self.maps)).split(self.plan.batch):
            labels = self.plan.labels(part.tolist())
            truth.append((labels == label.number).any(1))
            others.append(torch.isin(labels, wanted.to(labels)).any(1))
        return ConceptComparison(torch.cat(truth), torch.cat(others), self.plan.convention.area)


@dataclass(frozen=True)
class ConceptComparison:
    """Where pictures show a concept, and which of them count for it.

    Attributes:
        truth: where the concept is, at label resolution.
        alike: where any concept of its category is.
        area: which pictures' masks count, see `dissection.Convention`.
    """

    truth: Bool[Tensor, "n y x"]
    alike: Bool[Tensor, "n y x"]
    area: str

    def iou(self, masks: Bool[Tensor, "n y x"]) -> float:
        """Return the IoU of a unit's masks with the concept, over all pictures."""
        both = (masks & self.truth).sum()
        either = masks[self._counted(masks)].sum() + self.truth.sum() - both
        return float(both / either) if either else 0.0

    def _counted(self, masks: Bool[Tensor, "n y x"]) -> Bool[Tensor, " n"]:
        shown = {"category": self.alike, "concept": self.truth, "touched": self.alike & masks}
        everywhere = torch.ones(len(masks), dtype=torch.bool)
        return shown[self.area].flatten(1).any(1) if self.area in shown else everywhere

    def each(self, masks: Bool[Tensor, "n y x"]) -> Float[Tensor, " n"]:
        """Return the IoU on each picture by itself; 0 where neither is there."""
        both = (masks & self.truth).sum((1, 2))
        return both / (masks | self.truth).sum((1, 2)).clamp(min=1)


def layer_maps(
    model: nn.Module, data: object, table: LayerTable, convention: str | Convention = "original"
) -> LayerMaps:
    """Run pictures through a network once and keep a layer's maps.

    Args:
        model: the dissected network.
        data: the pictures it was dissected on.
        table: of the layer.
        convention: as it was dissected.
    """
    plan = make_plan(model, data, [table.layer], convention=convention)
    first = plan.maps([0], plan.layers)[table.layer]
    fits = min(len(plan.data), max(1, MEMORY_LIMIT // (first.numel() * 4)))
    parts = torch.arange(fits).split(plan.batch)
    maps = [plan.maps(part.tolist(), plan.layers)[table.layer].cpu() for part in parts]
    return LayerMaps(table, plan, torch.cat(maps))


class TopActivation(NamedTuple):
    """A picture that excites a unit, and what was found of the unit.

    Attributes:
        picture: (3, h, w).
        mask: (y, x), where the unit is active, at label resolution.
        layer: without ".relu".
        unit: from 0.
        concept: the one it fits best.
        iou: with it, over all pictures.
    """

    picture: Tensor
    mask: Tensor
    layer: str
    unit: int
    concept: str
    iou: float


def top_activations(
    model: nn.Module,
    data: object,
    table: LayerTable,
    unit: int,
    count: int,
    *,
    category: str | None = None,
    convention: str | Convention = "original",
) -> list[TopActivation]:
    """Return the pictures that excite a unit most, and its masks on them.

    Args:
        model: the dissected network.
        data: the pictures it was dissected on.
        table: of the unit's layer, with its strongest pictures (`top`).
        unit: the unit, from 0.
        count: how many pictures.
        category: name its best concept of this category.
        convention: as it was dissected.

    Raises:
        InputError: fewer pictures were noted.
    """
    if count > table.top_images.shape[1]:
        raise InputError(
            f"{table.top_images.shape[1]} strongest pictures; dissect with top={count}"
        )
    data = labelled_data(model, data)
    pictures = data.batch(table.top_images[unit, :count].tolist())
    size = tuple(data.label_maps([0]).shape[-2:])
    found = unit_masks(
        model, pictures, table.layer, table.thresholds, [unit], size=size, convention=convention
    )
    concept, iou = best_concept(table, unit, category)
    told = (table.layer.removesuffix(".relu"), unit, concept, iou)
    return [TopActivation(*pair, *told) for pair in zip(pictures, found[:, 0], strict=True)]
