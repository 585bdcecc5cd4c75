"""Curves agree with what was planted in a recording."""

import pytest
import torch
from support.recorded_training import AT, LAYERS, recording_of

from cnnvis_lab.core import InputError
from cnnvis_lab.data import Label
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import Evolution
from cnnvis_lab.methods.training_evolution.store import BestConcepts, UnitMaxima

LABELS = {
    number: Label(number, name, category, 0)
    for number, name, category in (
        (3, "dots", "texture"),
        (4, "dog", "object"),
        (5, "cat", "object"),
    )
}


def _maxima(images: list[int], values: list[float] | None = None) -> UnitMaxima:
    count = len(images)
    values = torch.tensor(values or [1.0] * count)
    return UnitMaxima(values, torch.tensor(images), torch.zeros(count, 2, dtype=torch.int64))


def test_changes_of_the_top_image_are_counted_by_layer():
    rows = [([1, 2, 3, 4], [7, 7]), ([1, 9, 3, 5], [7, 7]), ([1, 9, 3, 4], [8, 7])]
    evolution = recording_of([{"maxima": {"a": _maxima(a), "b": _maxima(b)}} for a, b in rows])
    assert training_evolution.top_image_changes(evolution).tolist() == [[0.5, 0], [0.25, 0.5]]
    to_final = training_evolution.top_image_changes(evolution, reference="final")
    assert to_final.tolist() == [[0.25, 0.5], [0.25, 0.5], [0, 0]]


def test_units_that_are_active_on_no_image_are_dead():
    values = [[1.0, -1, 0, 2], [1.0, 1, 1, 2]]
    evolution = recording_of([{"maxima": {"a": _maxima([0] * 4, v)}} for v in values], ("a",))
    assert training_evolution.dead_fraction(evolution).tolist() == [[0.5], [0.0]]


def test_projection_rms_is_over_all_projections_of_a_layer(recorded):
    rms = training_evolution.projection_rms(recorded)
    assert rms.shape == (len(AT), len(LAYERS))
    values = recorded.snapshots[1].projections["second"].projections.flatten().double()
    assert float(rms[1, 1]) == pytest.approx(float(values.norm() / len(values) ** 0.5), rel=1e-5)


def _with_concepts(*rows: list[tuple[int, float]]) -> Evolution:
    """A recording whose snapshots have these (concept number, IoU) for each unit."""
    concepts = [
        BestConcepts(torch.tensor([n for n, _ in row]), torch.tensor([v for _, v in row]))
        for row in rows
    ]
    return recording_of([{"concepts": {"a": one}} for one in concepts], ("a",), labels=LABELS)


def test_detectors_are_distinct_concepts_that_fit_well_enough():
    evolution = _with_concepts(
        [(3, 0.05), (3, 0.2), (4, 0.03), (5, 0.01)], [(4, 0.1), (3, 0.2), (4, 0.09), (5, 0.05)]
    )
    counts = training_evolution.detector_counts(evolution)
    assert {name: count.tolist() for name, count in counts.items()} == {
        "texture": [1, 1], "object": [0, 2],
    }  # fmt: skip
    counts = training_evolution.detector_counts(evolution, min_iou=0.06)
    assert counts["object"].tolist() == [0, 1]
    assert training_evolution.detector_counts(recording_of([{}])) == {}
    with pytest.raises(InputError, match="labelled="):
        training_evolution.detected_concepts(recording_of([{}]), "a", 0.04)


def test_the_delay_between_categories_is_a_fraction_of_the_run():
    steps = [0, 10, 20, 40]
    counts = {"color": [0, 2, 4, 4], "texture": [0, 0, 0, 0], "part": [0, 0, 1, 8]}
    counts = {name: torch.tensor(count) for name, count in counts.items()}
    low, high = ["color", "texture"], ["object", "part"]
    delay = training_evolution.detection_delay(steps, counts, high, low)
    assert delay == pytest.approx((20 + 20 * 3 / 7 - 10) / 40)
    assert training_evolution.detection_delay(steps, counts, low, high) == pytest.approx(-delay)
    assert training_evolution.detection_delay(steps, counts, low, ["texture"]) is None
    assert training_evolution.detection_delay(steps, {}, low, high) is None


def test_units_that_switch_from_one_category_to_another_are_counted_once():
    evolution = _with_concepts(
        [(3, 0.2), (3, 0.2), (4, 0.2), (3, 0.2)],
        [(4, 0.2), (4, 0.01), (3, 0.2), (3, 0.2)],
        [(5, 0.2), (3, 0.2), (3, 0.2), (3, 0.2)],
    )
    assert training_evolution.category_switches(evolution, "texture", "object") == 1 / 4
    assert training_evolution.category_switches(evolution, "object", "texture") == 1 / 2
    none = training_evolution.category_switches(evolution, "texture", "object", min_iou=0.5)
    assert none is None
    assert training_evolution.category_switches(recording_of([{}]), "texture", "object") is None
