"""What a dissection found in one layer: IoU of every unit with every concept, detectors, rows."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ...core import Bool, Float, Int, files, not_found
from ...data import CATEGORIES, Label


@dataclass(frozen=True)
class LayerTable:
    """A dissected layer.

    Attributes:
        layer: as the caller wrote it.
        concepts: the concepts, in the order of all columns.
        thresholds: (units,) the activation above which a unit is active.
        both: (units, concepts) label pixels that a unit's mask and a concept share.
        active: (units, concepts) pixels of the mask in the pictures that count for the concept.
        pixels: (concepts,) pixels of the concept.
        pictures: (concepts,) pictures that show it.
        min_iou: IoU from which a unit detects a concept.
        exceed: a detector must exceed `min_iou` rather than reach it.
        min_images: concepts seen in fewer pictures name no unit.
        top_values: (units, k) strongest activations, one a picture, falling; k may be 0.
        top_images: (units, k) the pictures they come from.
    """

    layer: str
    concepts: tuple[Label, ...]
    thresholds: Float[Tensor, " units"]
    both: Int[Tensor, "units concepts"]
    active: Int[Tensor, "units concepts"]
    pixels: Int[Tensor, " concepts"]
    pictures: Int[Tensor, " concepts"]
    min_iou: float
    exceed: bool
    min_images: int
    top_values: Float[Tensor, "units k"]
    top_images: Int[Tensor, "units k"]

    def __len__(self) -> int:
        return len(self.thresholds)

    @cached_property
    def iou(self) -> Float[Tensor, "units concepts"]:
        """Intersection over union, in [0, 1]; 0 for concepts in too few pictures."""
        union = self.active + self.pixels - self.both
        iou = self.both.double() / union.clamp(min=1)
        return iou * (self.pictures >= self.min_images)

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
        """Return each unit's highest IoU and the column it lies in, overall or in a category.

        Raises:
            NameNotFound: no concept of that category.
        """
        if category is None:
            return tuple(self.iou.max(1))
        return tuple(self.iou.masked_fill(~self._columns(category), -1).max(1))

    def _columns(self, category: str) -> Bool[Tensor, " concepts"]:
        if category not in self.categories:
            raise not_found("category", category, self.categories)
        return torch.tensor([concept.category == category for concept in self.concepts])

    def detected(self, iou: Tensor) -> Bool[Tensor, "..."]:
        """Say which of the values make a detector."""
        return iou > self.min_iou if self.exceed else iou >= self.min_iou

    def detectors(self) -> dict[int, Label]:
        """Return unit -> the concept it detects: its best one, where the IoU is high enough."""
        iou, column = self.best()
        found = self.detected(iou).nonzero()[:, 0].tolist()
        return {unit: self.concepts[int(column[unit])] for unit in found}

    def unique(self, rule: str = "top") -> dict[str, int]:
        """Count the distinct concepts that have a detector, by category.

        Args:
            rule: "top", each unit detects its best concept only; "each category", it detects its
                best one in every category, as the released counts of the paper do.
        """
        if rule == "top":
            found = set(self.detectors().values())
            return {name: sum(c.category == name for c in found) for name in self.categories}
        if rule != "each category":
            raise not_found("rule", rule, ("top", "each category"))
        best = {name: self.best(name) for name in self.categories}
        return {
            name: len(column[self.detected(iou)].unique()) for name, (iou, column) in best.items()
        }

    def units_of(self, concept: str) -> list[int]:
        """Return the units that detect a concept, by its name, best first.

        Raises:
            NameNotFound: no such concept.
        """
        names = [known.name for known in self.concepts]
        if concept not in names:
            raise not_found("concept", concept, names)
        iou = self.best()[0]
        units = [unit for unit, found in self.detectors().items() if found.name == concept]
        return sorted(units, key=lambda unit: (-float(iou[unit]), unit))

    def with_limits(
        self, *, min_iou: float | None = None, min_images: int | None = None
    ) -> "LayerTable":
        """Return the same counts read with other limits."""
        new = {"min_iou": min_iou, "min_images": min_images}
        return replace(self, **{name: value for name, value in new.items() if value is not None})

    def rows(self) -> list[dict[str, object]]:
        """Return a row per unit in the columns of the original's CSV, highest IoU first.

        Units count from 1 there; everywhere else in this project from 0.
        """
        iou, column = self.best()
        per_category = {name: self.best(name) for name in self.categories}
        order = sorted(range(len(self)), key=lambda unit: (-float(iou[unit]), unit))
        rows = []
        for unit in order:
            concept = self.concepts[int(column[unit])]
            row = {"unit": unit + 1, "category": concept.category, "label": concept.name}
            row["score"] = float(iou[unit])
            for name, (values, columns) in per_category.items():
                row |= self._cells(name, unit, int(columns[unit]), float(values[unit]))
            rows.append(row)
        return rows

    def _cells(self, category: str, unit: int, column: int, iou: float) -> dict[str, object]:
        return {
            f"{category}-label": self.concepts[column].name,
            f"{category}-truth": int(self.pixels[column]),
            f"{category}-activation": int(self.active[unit, column]),
            f"{category}-intersect": int(self.both[unit, column]),
            f"{category}-iou": iou,
        }

    def write_csv(self, path: str | Path) -> None:
        """Write `rows` as a table of comma-separated text, as NetDissect's makeresult.py does."""
        rows, text = self.rows(), io.StringIO(newline="")
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        files.write_atomically(path, text.getvalue())


def detector_counts(tables: Sequence[LayerTable]) -> list[dict[str, object]]:
    """Return per layer and category: detectors, and distinct concepts by both rules."""
    rows = []
    for table in tables:
        found = list(table.detectors().values())
        top, each = table.unique(), table.unique("each category")
        for category in table.categories:
            units = sum(concept.category == category for concept in found)
            row = {"layer": table.layer, "category": category, "detectors": units}
            rows.append({**row, "unique": top[category], "unique each": each[category]})
    return rows
