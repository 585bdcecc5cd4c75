"""Figures of Net2Vec show the results that they are given."""

import torch

from cnnvis_lab.data import Label
from cnnvis_lab.lab import figures
from cnnvis_lab.methods import net2vec

CONCEPTS = tuple(
    Label(n, name, kind, 0) for n, (name, kind) in enumerate((("red", "color"), ("dog", "object")))
)


def _table(kind: str) -> net2vec.ScoreTable:
    scores = {kind: torch.tensor([0.6, 0.8]), net2vec.SINGLE: torch.tensor([0.5, 0.4])}
    return net2vec.ScoreTable(
        CONCEPTS, {name: {"CL1.relu": own, "CL2": own / 2} for name, own in scores.items()}
    )


def _curves() -> dict[str, net2vec.FilterCurve]:
    scores = torch.tensor([[0.1, 0.4], [0.2, 0.4], [0.3, 0.4]])
    return {"CL2": net2vec.FilterCurve([1, 2, 3], scores)}


def test_scores_are_drawn_by_layer_and_by_concept():
    bars = figures.net2vec.mean_iou(_table("linear")).figure.axes[0]
    heights = [round(bar.get_height(), 3) for bar in bars.patches]
    assert heights == [0.7, 0.35, 0.45, 0.225]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["CL1", "CL2"]
    drawing = figures.net2vec.concept_scores(_table("linear"), "linear", "CL1.relu")
    points = [point.get_offsets().tolist() for point in drawing.figure.axes[0].collections]
    assert torch.allclose(torch.tensor(points), torch.tensor([[[0.5, 0.6]], [[0.4, 0.8]]]))
    assert drawing.arrays["combination"].tolist() == torch.tensor([0.6, 0.8]).tolist()


def test_curves_are_drawn_over_the_logarithm_of_the_number_of_filters():
    drawing = figures.net2vec.scores_by_filter_count(_curves(), _curves(), _table("combination"))
    segmentation, _, layers, categories = drawing.figure.axes
    (line,) = segmentation.lines
    assert line.get_xdata()[:2].tolist() == [0, 1] and 1.5 < line.get_xdata()[2] < 1.6
    assert [label.get_text() for label in segmentation.get_xticklabels()] == ["1", "2", "4"]
    assert [len(axes.lines) for axes in (layers, categories)] == [2, 3]  # one is chance level
    assert {*drawing.arrays} == {"CL2.iou", "CL2.accuracy"}
    shares = figures.net2vec.concepts_reached(_curves(), _curves())
    assert shares.arrays["CL2 segmentation"].tolist() == [0.5, 0.5, 1]


def test_bars_show_how_filters_are_shared():
    served = {"CL1.relu": torch.tensor([0, 1, 3, 4]), "CL2": torch.tensor([2, 2, 0])}
    drawing = figures.net2vec.shared_filters(served, _curves(), _curves())
    sharing, needed = drawing.figure.axes
    assert [bar.get_height() for bar in sharing.patches[:3]] == [0.25, 0.25, 0.5]
    assert round(needed.patches[0].get_height(), 3) == round((3 + 1) / 2 / 3, 3)
    assert drawing.arrays["CL1"] is served["CL1.relu"]


def test_masks_and_inverted_images_are_drawn_in_columns():
    images, mask = torch.rand(2, 3, 8, 8), torch.zeros(4, 4, dtype=torch.bool)
    row = [net2vec.Example(image, mask, 0.0) for image in images]
    examples = [net2vec.ConceptExamples(concept, 3, row, row) for concept in CONCEPTS]
    drawing = figures.net2vec.example_masks(examples, "CL2.relu")
    words = [text.get_text() for text in drawing.figure.texts]
    assert len(drawing.figure.axes) == 8 and words.count("IoU 0 (inactive)") == 8
    assert "red:\nunit 3" in words and "CL2 " in drawing.caption
    inverted = net2vec.InvertedConcepts(["a", "b"], [*images], images, images, [], [])
    drawing = figures.net2vec.inverted_concepts(inverted)
    assert len(drawing.figure.axes) == 6 and torch.equal(drawing.arrays["best unit"], images)


def test_the_map_names_objects_and_colors():
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    probes = net2vec.Probes(vectors, torch.zeros(2), torch.tensor([0, 1]))
    drawing = figures.net2vec.concept_map(CONCEPTS, probes, "CL2")
    axes = drawing.figure.axes[0]
    assert {text.get_text() for text in axes.texts} == {"red", "dog"}
    assert axes.get_xlabel() == "PC 1 (100 % of the variance)"
