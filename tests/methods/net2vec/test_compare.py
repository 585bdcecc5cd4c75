"""Tables of scores compare combinations with single filters, by layer and category."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab.data import Label
from cnnvis_lab.methods import net2vec
from cnnvis_lab.methods.net2vec import SINGLE, ScoreTable, prepare

pytestmark = pytest.mark.usefixtures("one_thread")
CONCEPTS = (Label(1, "red", "color", 0), Label(2, "dog", "object", 0), Label(3, "blue", "color", 0))


def table() -> ScoreTable:
    combined = {"CL1": torch.tensor([0.5, 0.2, 0.7]), "CL2": torch.tensor([0.3, 0.6, 0.3])}
    single = {"CL1": torch.tensor([0.4, 0.1, 0.6]), "CL2": torch.tensor([0.1, 0.3, 0.5])}
    return ScoreTable(CONCEPTS, {net2vec.CLASSIFIED: combined, SINGLE: single})


def test_a_table_compares_kinds_over_all_concepts():
    scores = table()
    assert scores.fraction_better(net2vec.CLASSIFIED, "CL2") == pytest.approx(2 / 3)
    assert scores.ratio(net2vec.CLASSIFIED, "CL2") == pytest.approx(1.2 / 0.9)
    assert scores.smallest_gain() == pytest.approx(0.1)
    assert scores.means(SINGLE) == pytest.approx([1.1 / 3, 0.3])
    assert scores.relative_difference(SINGLE, net2vec.CLASSIFIED) == pytest.approx(0.6 / 2.6)
    assert scores.relative_difference(SINGLE, SINGLE) == 0


def test_a_table_compares_layers_by_category():
    scores, layers = table(), ["CL1", "CL2"]
    assert scores.rises(["object", "part"], layers) == pytest.approx({"object": 0.4})
    assert scores.lead_below("color", layers) == pytest.approx(0.3)
    assert scores.lead_below("object", layers) == pytest.approx(-0.4)
    assert scores.lead_below("part", layers) is None
    assert scores.lead_below("color", layers[:1]) is None


def test_values_are_grouped_by_category():
    grouped = net2vec.by_category(CONCEPTS, torch.tensor([1.0, 2.0, 3.0]))
    assert {category: values.tolist() for category, values in grouped.items()} == {
        "color": [1, 3],
        "object": [2],
    }


def test_combinations_and_single_filters_are_scored_on_the_same_concepts():
    train, validation = prepare(
        small_net(), random_data(), [random_data(seed=3)], ["2", "3"], quantile=0.05
    )
    columns = [3, 0, 2]
    single = {n: net2vec.best_filters(train, validation, n, columns) for n in ("2", "3")}
    same = {n: net2vec.one_hot(train, n, best.unit, columns) for n, best in single.items()}
    learned = net2vec.segment_layers(train, ["2", "3"], columns, seed=1)
    scores = net2vec.compare_segmentation(validation, {"same": same, "linear": learned}, single)
    assert scores.concepts == tuple(train.concepts[column] for column in columns)
    for layer in ("2", "3"):
        assert torch.equal(scores.gain("same", layer), torch.zeros(3).double())
        alone = net2vec.segment(train, layer, columns, seed=1)
        expected = net2vec.set_iou(validation, layer, alone)
        assert torch.equal(scores.scores["linear"][layer], expected)
    classified = {"3": net2vec.classify(train, "3", columns)}
    accuracy = net2vec.compare_classification(train, validation, classified)
    best = net2vec.best_thresholds(train, validation, "3", columns)
    expected = net2vec.balanced_accuracy(validation, "3", classified["3"]) - best.score
    assert torch.equal(accuracy.gain(net2vec.CLASSIFIED, "3"), expected)
