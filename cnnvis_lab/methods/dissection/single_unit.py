"""A single unit: its top-activating images, and its IoU with a concept at any threshold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core import Bool, Float, InputError
from .analysis import best_concept, best_units, distinct_units
from .conventions import Convention
from .dissect import unit_masks
from .grid import units_last, upsample
from .masks import active_pixels, cells_above
from .plan import LabelledData, Plan, labelled_data, make_plan
from .table import LayerTable

MEMORY_LIMIT = 2**28  # maximum size of the maps, in bytes
VISIBLE_FRACTION = 0.01  # of an image that an example's mask should cover


@dataclass(frozen=True)
class LayerMaps:
    """A layer's maps over a dataset, to compare its units with concepts.

    Attributes:
        table: table of the layer.
        plan: data, and positions of the maps in label pixels.
        maps: (images, units, h, w) maps, of the first images that fit `MEMORY_LIMIT`.
    """

    table: LayerTable
    plan: Plan
    maps: Float[Tensor, "n units h w"]

    def masks(self, unit: int, threshold: float) -> Bool[Tensor, "n y x"]:
        """Return the masks where a unit exceeds a threshold, at label resolution."""
        grid, levels = self.plan.grids[self.table.layer], np.array([threshold], dtype=np.float32)
        cells = cells_above(units_last(self.maps[:, unit : unit + 1]), levels)
        masks = torch.zeros(len(self.maps), grid.rows.length, grid.columns.length, dtype=torch.bool)
        for chunk in active_pixels(cells, grid, levels, binary=self.plan.convention.binary):
            masks.view(-1)[torch.from_numpy(chunk.pixel)] = True
        return masks

    def top_images(self, unit: int, count: int) -> list[int]:
        """Return the indices of a unit's top-activating images, in decreasing order."""
        peaks = self.maps[:, unit].flatten(1).amax(1)
        return peaks.topk(min(count, len(peaks))).indices.tolist()

    def threshold_at(self, unit: int, fraction: float) -> float:
        """Return the threshold that a fraction of a unit's activations exceed.

        Args:
            unit: the unit, from 0.
            fraction: fraction of the activations (upsampled if the convention requires it), 0 to 1.
        """
        maps = self.maps[:, unit : unit + 1]
        if self.plan.convention.upsampled:
            maps = upsample(maps, self.plan.grids[self.table.layer])
        values = maps.numpy().ravel()
        rank = max(len(values) - 1 - max(1, round(fraction * len(values))), 0)
        return float(np.partition(values, rank)[rank])

    def compare(self, column: int) -> "ConceptComparison":
        """Return where the images show a concept, by its column in the table."""
        label = self.table.concepts[column]
        same_category = torch.tensor(
            [other.number for other in self.table.concepts if other.category == label.category]
        )
        concept, category = [], []
        for indices in torch.arange(len(self.maps)).split(self.plan.batch):
            labels = self.plan.labels(indices.tolist())
            concept.append((labels == label.number).any(1))
            category.append(torch.isin(labels, same_category.to(labels)).any(1))
        return ConceptComparison(torch.cat(concept), torch.cat(category), self.plan.convention.area)


@dataclass(frozen=True)
class ConceptComparison:
    """Where images show a concept, and which images count for it.

    Attributes:
        concept: pixels of the concept, at label resolution.
        category: pixels of any concept of the same category.
        area: which images count, see `Convention`.
    """

    concept: Bool[Tensor, "n y x"]
    category: Bool[Tensor, "n y x"]
    area: str

    def iou(self, masks: Bool[Tensor, "n y x"]) -> float:
        """Return the IoU of a unit's masks with the concept, over all images."""
        intersection = (masks & self.concept).sum()
        union = masks[self._counted(masks)].sum() + self.concept.sum() - intersection
        return float(intersection / union) if union else 0.0

    def _counted(self, masks: Bool[Tensor, "n y x"]) -> Bool[Tensor, " n"]:
        evidence = {
            "category": self.category,
            "concept": self.concept,
            "touched": self.category & masks,
            "everywhere": torch.ones(len(masks), 1, 1, dtype=torch.bool),
        }
        return evidence[self.area].flatten(1).any(1)

    def iou_per_image(self, masks: Bool[Tensor, "n y x"]) -> Float[Tensor, " n"]:
        """Return the IoU on each image; 0 if both masks are empty."""
        intersection = (masks & self.concept).sum((1, 2))
        return intersection / (masks | self.concept).sum((1, 2)).clamp(min=1)


def layer_maps(
    model: nn.Module,
    data: LabelledData,
    table: LayerTable,
    convention: str | Convention = "original",
) -> LayerMaps:
    """Run a dataset through a network once and store a layer's maps.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        table: of the layer.
        convention: the one of the dissection.
    """
    plan = make_plan(model, data, [table.layer], convention=convention)
    first = plan.maps([0], plan.layers)[table.layer]
    count = min(len(plan.data), max(1, MEMORY_LIMIT // (first.numel() * 4)))
    batches = torch.arange(count).split(plan.batch)
    maps = [plan.maps(indices.tolist(), plan.layers)[table.layer].cpu() for indices in batches]
    return LayerMaps(table, plan, torch.cat(maps))


class TopActivation(NamedTuple):
    """A top-activating image of a unit, and the unit's best concept.

    Attributes:
        image: (3, h, w) the image.
        mask: (y, x) where the unit exceeds its threshold, at label resolution.
        layer: name of the layer, without ".relu".
        unit: index of the unit.
        concept: the unit's best concept.
        iou: IoU of unit and concept, over all images.
        detected: whether the IoU is high enough for a detector.
    """

    image: Tensor
    mask: Tensor
    layer: str
    unit: int
    concept: str
    iou: float
    detected: bool


def top_activations(
    model: nn.Module,
    data: LabelledData,
    table: LayerTable,
    unit: int,
    count: int,
    *,
    category: str | None = None,
    convention: str | Convention = "original",
) -> list[TopActivation]:
    """Return a unit's top-activating images, with its masks on them.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        table: of the unit's layer, with top-activating images (`dissect(top=)`).
        unit: the unit, from 0.
        count: number of images.
        category: consider concepts of this category only.
        convention: the one of the dissection.

    Raises:
        InputError: fewer images were recorded.
    """
    recorded = table.top_images.shape[1]
    if count > recorded:
        raise InputError(f"{recorded} top-activating images recorded; dissect with top={count}")
    data = labelled_data(model, data)
    images = data.batch(table.top_images[unit, :count].tolist())
    size = tuple(data.label_maps([0]).shape[-2:])
    masks = unit_masks(
        model, images, table.layer, table.thresholds, [unit], size=size, convention=convention
    )
    concept, iou = best_concept(table, unit, category)
    layer, detected = table.layer.removesuffix(".relu"), table.is_detected(iou)
    return [
        TopActivation(image, mask, layer, unit, concept, iou, detected)
        for image, mask in zip(images, masks[:, 0], strict=True)
    ]


UnitExamples = list[TopActivation]  # of one unit


def examples_by_category(
    model: nn.Module,
    data: LabelledData,
    tables: Mapping[str, LayerTable],
    *,
    units: int = 2,
    images: int = 3,
    convention: str | Convention = "original",
) -> dict[str, list[UnitExamples]]:
    """Return category -> the units of all layers with the highest IoUs, on images they respond to.

    The units of a category detect different concepts. Their images are the first of the recorded
    top-activating ones whose mask is large enough to be seen (`VISIBLE_FRACTION`), then others.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        tables: layer -> its table, with top-activating images (`dissect(top=)`).
        units: units per category.
        images: images per unit.
        convention: the one of the dissection.
    """
    last = [*tables.values()][-1]
    return {
        category: [
            _examples(model, data, tables[layer], unit, images, category, convention)
            for layer, unit in best_units(tables, category, units)
            if tables[layer].is_detected(best_concept(tables[layer], unit, category)[1])
        ]
        for category in last.categories
    }


def examples_by_layer(
    model: nn.Module,
    data: LabelledData,
    tables: Mapping[str, LayerTable],
    *,
    units: int = 4,
    images: int = 2,
    convention: str | Convention = "original",
) -> dict[str, list[UnitExamples]]:
    """Return layer -> its units with the highest IoUs, on images chosen as by category.

    The units of a layer detect different concepts.

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        tables: layer -> its table, with top-activating images (`dissect(top=)`).
        units: units per layer.
        images: images per unit.
        convention: the one of the dissection.
    """
    return {
        layer: [
            _examples(model, data, table, unit, images, None, convention)
            for unit in distinct_units(table, units)
            if table.is_detected(best_concept(table, unit)[1])
        ]
        for layer, table in tables.items()
    }


def _examples(
    model: nn.Module,
    data: LabelledData,
    table: LayerTable,
    unit: int,
    images: int,
    category: str | None,
    convention: str | Convention,
) -> UnitExamples:
    recorded = int((table.top_images[unit] >= 0).sum())
    options = {"category": category, "convention": convention}
    examples = top_activations(model, data, table, unit, recorded, **options)
    hidden = [float(one.mask.float().mean()) < VISIBLE_FRACTION for one in examples]
    order = sorted(range(recorded), key=hidden.__getitem__)
    return [examples[index] for index in order[:images]]
