"""Figures of deep generators: rows, labels and arrays of given results."""

import pytest
import torch
from support import tensor_images

from cnnvis_lab.core.statistics import TopK
from cnnvis_lab.lab import figures
from cnnvis_lab.methods import activation_maximization, deep_generator

CLASSES = ["cat", "car", "bird"]


def _rendering(count: int = 3, steps: int = 5, layer: str = "logits") -> object:
    history = torch.arange(float(steps * count)).view(steps, count)
    return activation_maximization.Rendering(
        tuple(f"{layer}:{n}" for n in range(count)),
        torch.rand(count, 3, 8, 8),
        history[-1],
        history,
        {0: torch.rand(count, 3, 8, 8), 3: torch.rand(count, 3, 8, 8) + 0.5},
        False,
        activation_maximization.full_canvas(8),
    )


def _table(**more: float) -> deep_generator.QualityTable:
    ways = ("pixels", "generator_FL1", "without bounds")
    last = more.get("distance", 1.234), more.get("recognized", 0.5)
    quality = deep_generator.GeneratedQuality(12.4, 0.876, *last)
    return deep_generator.QualityTable(
        CLASSES, {way: _rendering() for way in ways}, dict.fromkeys(ways, quality)
    )


def _texts(drawing: figures.Drawing) -> list[str]:
    return [text.get_text() for text in drawing.figure.texts]


def test_known_classes_are_drawn_with_their_top_activating_images():
    top = TopK(2)
    top.update(torch.rand(5, 3), torch.arange(5))
    first, second = _rendering(), _rendering()
    drawing = figures.deep_generator.class_images(
        first, second, top, tensor_images.noise(5, 8, seed=0), CLASSES
    )
    assert len(drawing.figure.axes) == 4  # one known class: the car
    assert "car" in _texts(drawing) and "cat" not in _texts(drawing)
    assert torch.equal(drawing.arrays["am"], first.images)
    drawing = figures.deep_generator.class_images(
        first, second, top, tensor_images.noise(5, 8, seed=0), ["a", "b", "c"]
    )
    assert len(drawing.figure.axes) == 12


@pytest.mark.parametrize(("recognized", "text"), [(0.5, "50 %"), (float("nan"), "–")])
@pytest.mark.parametrize("builder", ["priors", "networks"])
def test_each_row_has_its_four_numbers(builder, recognized, text):
    table = _table(recognized=recognized)
    drawing = getattr(figures.deep_generator, builder)(table)
    texts = _texts(drawing)
    assert [texts.count(number) for number in ("12", "0.88", "1.23", text)] == [3] * 4
    assert "codes of FL1" in texts and drawing.arrays.keys() == table.quality.keys()
    for text in drawing.figure.texts:
        assert 0 < text.get_position()[0] < 1


def test_generators_are_named_after_their_codes_and_losses():
    decoded = dict.fromkeys(["generator_FL1_image_loss", "deepsim_fc6"], torch.rand(2, 3, 8, 8))
    drawing = figures.deep_generator.reconstructions(torch.rand(4, 3, 8, 8), decoded)
    assert {"codes of FL1,\nimage loss only", "deepsim_fc6"} <= {*_texts(drawing)}
    assert len(drawing.figure.axes) == 6


def test_the_course_has_the_activation_of_each_image():
    rendering = _rendering()
    drawing = figures.deep_generator.course(rendering, CLASSES)
    assert {"step 0", "step 3", "activation 1.0", "activation 10.0"} <= {*_texts(drawing)}
    assert drawing.arrays["3"] is rendering.snapshots[3]


def test_the_activation_is_drawn_with_and_without_bounds():
    table = _table()
    drawing = figures.deep_generator.bounds(table, "generator_FL1")
    lines, bars = drawing.figure.axes
    history = table.renderings["generator_FL1"].history
    assert lines.lines[0].get_ydata().tolist() == history.mean(1).tolist()
    assert [bar.get_height() for bar in bars.patches] == [1.234] * 3
    assert torch.equal(drawing.arrays["with bounds"], history)
    drawing = figures.deep_generator.bounds(_table(distance=float("nan")), "generator_FL1")
    assert len(drawing.figure.axes) == 1 and "nearest" not in drawing.caption


def test_hidden_units_are_drawn_in_pairs_of_rows():
    pixels, codes = ({"CL1": _rendering(2, layer="CL1")} for _ in range(2))
    drawing = figures.deep_generator.hidden_units(pixels, codes)
    assert torch.equal(drawing.arrays["CL1 in codes"], codes["CL1"].images)
    assert _texts(drawing).count("CL1:1\nactivation 9.0") == 2


def test_samples_have_a_row_for_each_method_and_weight():
    images = torch.rand(2, 3, 8, 8)
    sets = deep_generator.SampleSets({"a": images}, {"a": 0.5}, {0.1: images}, {0.1: 0.75})
    drawing = figures.deep_generator.samples(sets)
    labels = {"a\nmutual distance 0.50", "PPGN,\nprior weight 0.1\nclass probability 75 %"}
    assert labels <= {*_texts(drawing)} and len(drawing.figure.axes) == 4
    assert drawing.arrays == {"unlike": [0.5], "sure": [0.75]}
