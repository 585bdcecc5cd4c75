"""Figures of Network Dissection show all units, layers, networks and steps they are given."""

from itertools import pairwise

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab.lab import figures
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import Convention

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = {"convention": Convention(quantile=0.05)}


@pytest.fixture(scope="module")
def tables() -> dict[str, dissection.LayerTable]:
    return dissection.dissect(small_net(), random_data(), ["0", "2"], top=3, **OPTIONS)


def _texts(drawing: figures.Drawing) -> str:
    axes = drawing.figure.axes
    texts = [*drawing.figure.texts, *(label for one in axes for label in one.get_xticklabels())]
    return "\n".join(text.get_text() for text in texts)


def test_the_pipeline_names_unit_and_concept_and_keeps_its_maps(tables):
    steps = dissection.walkthrough(small_net(), random_data(), tables["2"], 4)
    drawing = figures.dissection.pipeline(steps)
    text = _texts(drawing)
    assert f"2:4 and its best concept, {steps.concept}" in text
    assert f"IoU {steps.iou:.2f} on this image" in text and f": {steps.dataset_iou:.2f}" in text
    assert torch.equal(drawing.arrays["mask"], steps.mask)


def test_every_example_is_drawn_with_its_unit_and_iou(tables):
    examples = dissection.examples_by_layer(small_net(), random_data(), tables, **OPTIONS)
    drawing = figures.dissection.examples_by_layer(examples, tables)
    units = [unit for row in examples.values() for unit in row]
    assert len(drawing.figure.axes) == sum(map(len, units))
    for layer, table in tables.items():
        assert f"{layer}\n{len(table.detectors())} of {len(table)} units" in _texts(drawing)
    for unit in units:
        text = f"{unit[0].layer}:{unit[0].unit}  {unit[0].concept}, IoU {unit[0].iou:.2f}"
        assert text in _texts(drawing)
    by_category = dissection.examples_by_category(small_net(), random_data(), tables, **OPTIONS)
    drawing = figures.dissection.examples_by_category(by_category)
    assert all(category in _texts(drawing) for category in by_category)
    more = figures.dissection.examples_by_category({**by_category, "of\nthree\nlines": []})
    height, higher = (one.figure.get_figheight() for one in (drawing, more))
    tile = more.figure.axes[0].get_position().height * higher
    assert height + 0.4 < higher < height + 0.8 * tile


def test_counts_have_whole_ticks_and_keep_their_numbers(tables):
    by_layer = figures.dissection.by_layer(tables, "small")
    counts = dissection.count_concepts(tables)
    assert by_layer.arrays == counts.by_category and "0" in _texts(by_layer)
    steps = {0: tables["0"], 18: tables["2"]}
    by_step = figures.dissection.by_training_step(steps)
    assert by_step.arrays["steps"].tolist() == [0, 18] and "18" in _texts(by_step)
    assert by_step.figure.axes[0].get_xlabel() == "training step"
    stages = {"random": tables["0"], "trained": tables["2"]}
    before_after = figures.dissection.by_training_step(stages)
    assert before_after.figure.axes[0].get_xlabel() == "weights"
    assert "short training" in by_step.caption and "short training" not in before_after.caption
    for drawing in (by_layer, by_step):
        assert all(tick == int(tick) for tick in drawing.figure.axes[0].get_yticks())


def test_networks_are_named_by_what_differs(tables):
    changes = ("repeat0", "repeat1", "repeat2", "repeat3", "no_dropout", "batch_norm", "half_width")
    variants = {f"net_{change}": tables["0"] for change in changes}
    tables = {"net": tables["2"], **variants, "zfnet_mini": tables["0"], "random": tables["2"]}
    compared = dissection.NetworkComparison(tables, {"net": 0.912}, {})
    drawing = figures.dissection.by_network(compared)
    text = _texts(drawing)
    assert all(name in text for name in ("91.2%\nnet", "seed 0", "half\nwidth"))
    assert drawing.arrays == compared.counts.by_category
    drawing.figure.canvas.draw()
    extents = [label.get_window_extent() for label in drawing.figure.axes[0].get_xticklabels()]
    assert all(not one.overlaps(other) for one, other in pairwise(extents))
    few = dissection.NetworkComparison({"other_net_1": tables["net"], "b": tables["net"]}, {}, {})
    assert "other_net_1" in _texts(figures.dissection.by_network(few))
    drawing = figures.dissection.by_iou_threshold(compared)
    assert drawing.arrays.keys() == compared.threshold_sweep().keys()
    legend = [text.get_text() for text in drawing.figure.axes[0].get_legend().get_texts()]
    assert any("half_width" in name for name in legend)


def test_rotations_are_drawn_over_their_fraction(tables):
    sweep = dissection.rotation_sweep(small_net(), random_data(), tables["2"], steps=2, **OPTIONS)
    drawing = figures.dissection.by_rotation(sweep)
    (axes,) = drawing.figure.axes
    assert [*axes.lines[0].get_xdata()] == [0, 0.5, 1] and axes.get_ylim()[0] == 0
    assert len(axes.lines) == len(drawing.arrays)
