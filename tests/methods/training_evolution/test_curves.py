"""Curves agree with what was planted in a recording; recommendations follow from them."""

from dataclasses import replace

import pytest
import torch
from support.recorded_training import AT, LAYERS, labelled_images, recording_of, view

from cnnvis_lab.core import InputError
from cnnvis_lab.data import Label
from cnnvis_lab.methods import training_evolution
from cnnvis_lab.methods.training_evolution import Evolution, recommend, step_reaching
from cnnvis_lab.methods.training_evolution.store import BestConcepts, UnitMaxima

LABELS = {
    number: Label(number, name, category, 0)
    for number, name, category in (
        (3, "dots", "texture"),
        (4, "dog", "object"),
        (5, "cat", "object"),
    )
}


def test_a_curve_reaches_a_level_between_two_steps_or_at_the_last_step():
    curves = torch.tensor([[0.1, 0.95, 0.5], [0.9, 0.2, 0.8], [0.3, 0.3, 1.0]])
    assert step_reaching([5, 6, 10], curves).tolist() == pytest.approx([6, 5, 8])
    assert step_reaching([5, 6, 10], curves, 0.5).tolist() == pytest.approx([5.5, 5, 5])
    assert step_reaching([5, 6, 10], curves[:, :2], 0.99).tolist() == [10, 10]
    assert step_reaching([7], curves[:1], 0.5).tolist() == [7, 7, 7]
    assert torch.equal(curves[2], torch.tensor([0.3, 0.3, 1.0]))  # the input is not changed


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
    with pytest.raises(InputError, match="labelled="):
        training_evolution.detector_counts(recording_of([{}]))


def test_units_that_switch_from_one_category_to_another_are_counted_once():
    evolution = _with_concepts(
        [(3, 0.2), (3, 0.2), (4, 0.2), (3, 0.2)],
        [(4, 0.2), (4, 0.01), (3, 0.2), (3, 0.2)],
        [(5, 0.2), (3, 0.2), (3, 0.2), (3, 0.2)],
    )
    assert training_evolution.category_switches(evolution, "texture", "object") == 1 / 4
    assert training_evolution.category_switches(evolution, "object", "texture") == 1 / 2
    none = training_evolution.category_switches(evolution, "texture", "object", min_iou=0.5)
    assert none == 0


@pytest.mark.parametrize(
    ("accuracy", "last_similarity", "dead", "action"),
    [
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.1, "continue"),
        ([0.1, 0.5, 0.6, 0.6, 0.6], 0.90, 0.1, "continue"),
        ([0.1, 0.5], 0.99, 0.1, "continue"),
        ([0.1, 0.5, 0.7, 0.4, 0.3], 0.99, 0.1, "stop"),
        ([0.1, 0.5, 0.6, 0.6, 0.65], 0.99, 0.5, "restart"),
    ],
)
def test_stopping_is_recommended_if_nothing_changes_and_a_restart_if_maps_die(
    accuracy, last_similarity, dead, action
):
    count = len(accuracy)
    similarity, dying = torch.full((count - 1, 2), 0.995), torch.zeros(count, 2)
    similarity[-1, 1], dying[-1, 0] = last_similarity, dead
    recommendation = recommend(torch.tensor(accuracy), similarity, dying)
    assert recommendation.action == action and recommendation.reason


def test_only_the_last_steps_decide_whether_layers_have_settled():
    similarity = torch.tensor([[0.2], [0.3], [0.99], [0.99]])
    flat, alive = torch.full((5,), 0.6), torch.zeros(5, 1)
    assert recommend(flat, similarity, alive).action == "stop"
    assert recommend(flat, similarity.flip(0), alive).action == "continue"
    assert recommend(flat, similarity, alive, patience=3).action == "continue"


def test_recommendations_along_a_recording_depend_only_on_earlier_steps(recorded):
    accuracies, images = (0.1, 0.5, 0.5, 0.5), labelled_images().images[:4]
    pairs = zip(recorded.snapshots, accuracies, strict=True)
    snapshots = tuple(replace(one, metrics={"accuracy": value}) for one, value in pairs)
    evolution = replace(recorded, snapshots=snapshots)
    by_step = training_evolution.recommendations(view(), evolution, images)
    cka = training_evolution.similarity(view(), evolution, images, reference="previous").cka
    accuracy, dead = evolution.metric("accuracy"), training_evolution.dead_fraction(evolution)
    assert [*by_step] == AT
    for i, step in enumerate(AT):
        assert by_step[step] == recommend(accuracy[: i + 1], cka[:i], dead[: i + 1])
    early = replace(evolution, snapshots=snapshots[:2])
    expected = [by_step[step] for step in AT[:2]]
    assert [*training_evolution.recommendations(view(), early, images).values()] == expected
