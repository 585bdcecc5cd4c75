"""Results for one layer: IoU of every unit with every concept, detectors, and CSV rows."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ...core import Bool, Float, Int, not_found
from ...core.files import write_atomically
from ...data import CATEGORIES, Label

Row = dict[str, str | int | float]


@dataclass(frozen=True)
class LayerTable:
    """A dissected layer.

    Attributes:
        layer: dotted name or alias, as given.
        concepts: the concepts, in the order of the columns.
        thresholds: (units,) the activation above which a unit is active.
        intersection: (units, concepts) number of pixels in both a unit's mask and a concept.
        mask_pixels: (units, concepts) number of mask pixels in the images that count for the
            concept.
        concept_pixels: (concepts,) number of pixels of each concept.
        concept_images: (concepts,) number of images that show each concept.
        min_iou: IoU from which a unit detects a concept.
        strict: a detector must exceed `min_iou` instead of reaching it.
        min_images: concepts shown in fewer images are not assigned to units.
        top_values: (units, k) highest activations, one per image, descending; k may be 0.
        top_images: (units, k) indices of these images.
    """

    layer: str
    concepts: tuple[Label, ...]
    thresholds: Float[Tensor, " units"]
    intersection: Int[Tensor, "units concepts"]
    mask_pixels: Int[Tensor, "units concepts"]
    concept_pixels: Int[Tensor, " concepts"]
    concept_images: Int[Tensor, " concepts"]
    min_iou: float
    strict: bool
    min_images: int
    top_values: Float[Tensor, "units k"]
    top_images: Int[Tensor, "units k"]

    def __len__(self) -> int:
        return len(self.thresholds)

    @cached_property
    def iou(self) -> Float[Tensor, "units concepts"]:
        """Intersection over union, in [0, 1]; 0 for concepts in fewer than `min_images` images."""
        union = self.mask_pixels + self.concept_pixels - self.intersection
        iou = self.intersection.double() / union.clamp(min=1)
        return iou * (self.concept_images >= self.min_images)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of the concepts, in Broden's order."""
        present = {concept.category for concept in self.concepts}
        return tuple(name for name in CATEGORIES if name in present) + tuple(
            sorted(present - set(CATEGORIES))
        )

    def best(
        self, category: str | None = None
    ) -> tuple[Float[Tensor, " units"], Int[Tensor, " units"]]:
        """Return each unit's highest IoU and its column, overall or within a category.

        Raises:
            NameNotFound: no concept of that category.
        """
        if category not in (None, *self.categories):
            raise not_found("category", str(category), self.categories)
        excluded = [category not in (None, concept.category) for concept in self.concepts]
        highest = self.iou.masked_fill(torch.tensor(excluded), -1).max(1)
        return highest.values, highest.indices

    def detected(self, iou: Tensor) -> Bool[Tensor, "..."]:
        """Return which IoU values are high enough for a detector."""
        return iou > self.min_iou if self.strict else iou >= self.min_iou

    def is_detected(self, iou: float) -> bool:
        """Return whether an IoU is high enough for a detector."""
        return bool(self.detected(torch.tensor(iou, dtype=torch.float64)))

    @property
    def used_concepts(self) -> int:
        """Number of concepts that occur in at least `min_images` images."""
        return int((self.concept_images >= self.min_images).sum())

    def detectors(self) -> dict[int, Label]:
        """Return unit -> the concept that it detects: its best one, if the IoU is high enough."""
        iou, column = self.best()
        units = self.detected(iou).nonzero()[:, 0].tolist()
        return {unit: self.concepts[int(column[unit])] for unit in units}

    def unique_concepts(self, *, per_category: bool = False) -> dict[str, int]:
        """Return category -> the number of different concepts that have a detector.

        Args:
            per_category: let a unit detect one concept in every category, as in the counts released
                with the paper, instead of its best concept only.
        """
        if not per_category:
            concepts = set(self.detectors().values())
            return {name: sum(c.category == name for c in concepts) for name in self.categories}
        best = {name: self.best(name) for name in self.categories}
        return {
            name: len(column[self.detected(iou)].unique()) for name, (iou, column) in best.items()
        }

    def unique_detectors_at(self, thresholds: Sequence[float]) -> list[int]:
        """Return the number of unique detectors for each IoU threshold."""
        tables = [replace(self, min_iou=threshold) for threshold in thresholds]
        return [sum(table.unique_concepts().values()) for table in tables]

    def rows(self) -> list[Row]:
        """Return one row per unit, highest IoU first, with the columns of NetDissect's CSV file.

        Units count from 1 in these rows, unlike everywhere else in this project.
        """
        iou, column = self.best()
        per_category = {name: self.best(name) for name in self.categories}
        order = sorted(range(len(self)), key=lambda unit: (-float(iou[unit]), unit))
        rows = []
        for unit in order:
            concept = self.concepts[int(column[unit])]
            row: Row = {"unit": unit + 1, "category": concept.category, "label": concept.name}
            row["score"] = float(iou[unit])
            for name, (values, columns) in per_category.items():
                row |= self._category_cells(name, unit, int(columns[unit]), float(values[unit]))
            rows.append(row)
        return rows

    def _category_cells(self, category: str, unit: int, column: int, iou: float) -> Row:
        return {
            f"{category}-label": self.concepts[column].name,
            f"{category}-truth": int(self.concept_pixels[column]),
            f"{category}-activation": int(self.mask_pixels[unit, column]),
            f"{category}-intersect": int(self.intersection[unit, column]),
            f"{category}-iou": iou,
        }

    def write_csv(self, path: str | Path) -> None:
        """Write `rows` as comma-separated values, like NetDissect's makeresult.py."""
        rows, text = self.rows(), io.StringIO(newline="")
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(path, text.getvalue())


@dataclass(frozen=True)
class ConceptCounts:
    """Numbers of unique detectors: concepts that at least one unit of a table detects.

    Attributes:
        names: of the tables.
        by_category: category -> the number of each table.
    """

    names: tuple[str, ...]
    by_category: dict[str, list[int]]

    def of(self, *categories: str) -> dict[str, int]:
        """Return name -> number of unique detectors of some categories; of all, if none is named.

        A category without labels counts 0.
        """
        none = [0] * len(self.names)
        rows = [self.by_category.get(one, none) for one in categories or self.by_category]
        return {name: sum(row[index] for row in rows) for index, name in enumerate(self.names)}

    def fraction(self, *categories: str) -> dict[str, float]:
        """Return name -> fraction of the unique detectors that are of some categories."""
        total = self.of()
        return {name: count / max(total[name], 1) for name, count in self.of(*categories).items()}


def count_concepts(tables: Mapping[str, LayerTable] | Mapping[int, LayerTable]) -> ConceptCounts:
    """Count the unique detectors of each table, as the paper does.

    Args:
        tables: name of a layer, a network, a training step, ... -> table; ".relu" is left out.
    """
    counts = [table.unique_concepts() for table in tables.values()]
    categories = dict.fromkeys([*CATEGORIES, *(name for count in counts for name in count)])
    return ConceptCounts(
        tuple(str(name).removesuffix(".relu") for name in tables),
        {name: [count.get(name, 0) for count in counts] for name in categories},
    )


def detector_counts(tables: Sequence[LayerTable]) -> list[Row]:
    """Return a row per layer and category: detectors, and unique concepts by both counts."""
    rows: list[Row] = []
    for table in tables:
        concepts = list(table.detectors().values())
        unique, each = table.unique_concepts(), table.unique_concepts(per_category=True)
        for category in table.categories:
            units = sum(concept.category == category for concept in concepts)
            row: Row = {"layer": table.layer, "category": category, "detectors": units}
            rows.append({**row, "unique": unique[category], "unique each": each[category]})
    return rows
