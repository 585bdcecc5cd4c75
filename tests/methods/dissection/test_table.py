"""Results read from the counts: IoU, detectors, unique concepts, the CSV."""

import csv
from dataclasses import replace

import pytest
import torch

from cnnvis_lab.core import NameNotFound
from cnnvis_lab.data import Label
from cnnvis_lab.methods.dissection import LayerTable, detector_counts

CONCEPTS = (
    Label(1, "red", "color", 0),
    Label(2, "wheel", "part", 0),
    Label(3, "cat", "object", 0),
    Label(7, "dog", "object", 0),
)


@pytest.fixture
def table() -> LayerTable:
    """Four units; each concept has 100 pixels."""
    intersection = torch.tensor([[0, 0, 4, 20], [8, 0, 0, 30], [0, 5, 0, 0], [1, 0, 0, 3]])
    mask_pixels = torch.tensor([[50, 50, 50, 50], [60, 60, 60, 60], [30, 30, 30, 30], [9, 9, 9, 9]])
    return LayerTable(
        layer="conv5",
        concepts=CONCEPTS,
        thresholds=torch.ones(4),
        intersection=intersection,
        mask_pixels=mask_pixels,
        concept_pixels=torch.full((4,), 100),
        concept_images=torch.tensor([12, 9, 3, 8]),
        min_iou=0.04,
        strict=False,
        min_images=1,
        top_values=torch.empty(4, 0),
        top_images=torch.empty(4, 0, dtype=torch.int64),
    )


def test_iou_is_intersection_over_union(table):
    assert table.iou[0, 3] == 20 / (50 + 100 - 20)
    assert table.iou[1, 0] == 8 / (60 + 100 - 8)
    assert table.iou[2, 0] == 0


def test_the_released_row_of_a_wheel_detector_gives_its_released_iou(table):
    # conv5 of AlexNet on ImageNet, unit 198: the released CSV's counts and score.
    one = replace(
        table,
        intersection=torch.tensor([[561458]]),
        mask_pixels=torch.tensor([[1540612]]),
        concept_pixels=torch.tensor([1584597]),
        concept_images=torch.tensor([1]),
        concepts=(CONCEPTS[1],),
        thresholds=torch.ones(1),
        top_values=torch.empty(1, 0),
        top_images=torch.empty(1, 0, dtype=torch.int64),
    )
    assert round(float(one.iou[0, 0]), 4) == 0.2190


def test_a_concept_without_pixels_has_an_iou_of_zero(table):
    empty = replace(
        table,
        intersection=table.intersection * 0,
        mask_pixels=table.mask_pixels * 0,
        concept_pixels=table.concept_pixels * 0,
    )
    assert (empty.iou == 0).all() and not empty.detectors()


def test_a_unit_detects_its_best_concept_if_the_iou_reaches_the_limit(table):
    def detectors(table: LayerTable) -> dict[int, str]:
        return {unit: concept.name for unit, concept in table.detectors().items()}

    # Unit 2 shares 5 pixels of 125 with wheels: an IoU of exactly 0.04.
    assert detectors(table) == {0: "dog", 1: "dog", 2: "wheel"}
    assert detectors(replace(table, strict=True)) == {0: "dog", 1: "dog"}
    assert detectors(replace(table, min_iou=0.2)) == {1: "dog"}


def test_concepts_in_too_few_images_are_assigned_to_no_unit(table):
    few = replace(table, min_images=10)
    assert (few.iou[:, 1:] == 0).all() and torch.equal(few.iou[:, 0], table.iou[:, 0])
    assert {concept.name for concept in few.detectors().values()} == {"red"}
    assert table.min_images == 1


def test_unique_concepts_are_counted_in_both_ways(table):
    low = replace(table, min_iou=0.02)
    assert low.unique_concepts() == {"color": 0, "object": 1, "part": 1}
    # Units 0 and 1 both have dog as their best object; unit 1 has red as its best color.
    assert low.unique_concepts(per_category=True) == {"color": 1, "object": 1, "part": 1}
    rows = {(row["category"]): row for row in detector_counts([low])}
    assert rows["object"] == {
        "layer": "conv5", "category": "object", "detectors": 3, "unique": 1, "unique each": 1,
    }  # fmt: skip


def test_the_best_concept_of_a_category_is_of_that_category(table):
    iou, column = table.best("part")
    assert column.tolist() == [1, 1, 1, 1] and iou[1] == 0
    with pytest.raises(NameNotFound, match="did you mean object"):
        table.best("objects")


def test_the_csv_has_the_originals_columns_and_counts_units_from_one(table, tmp_path):
    table.write_csv(tmp_path / "conv5-result.csv")
    with (tmp_path / "conv5-result.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    per_category = ("label", "truth", "activation", "intersect", "iou")
    assert list(rows[0]) == [
        *("unit", "category", "label", "score"),
        *(f"{name}-{part}" for name in ("color", "object", "part") for part in per_category),
    ]
    assert [row["unit"] for row in rows] == ["2", "1", "3", "4"]
    assert (rows[0]["category"], rows[0]["label"]) == ("object", "dog")
    for row in rows:
        unit = int(row["unit"]) - 1
        assert float(row["score"]) == float(table.iou[unit].max())
        for name in ("color", "object", "part"):
            t, a, i = (int(row[f"{name}-{part}"]) for part in per_category[1:4])
            assert float(row[f"{name}-iou"]) == i / (t + a - i)
