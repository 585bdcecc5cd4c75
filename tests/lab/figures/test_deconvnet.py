"""F4 shows every map and signal at its position; the other figures show their results."""

import numpy as np
import pytest
import torch
from support.small_figures import schematic
from torch import nn

from cnnvis_lab import data, models
from cnnvis_lab.lab import figures
from cnnvis_lab.methods import deconvnet


def test_every_map_and_signal_is_shown_at_its_level_with_its_sign():
    figure = schematic()
    maps = figure.axes
    assert len(maps) == 6
    positions = [axes.get_position() for axes in maps]
    for backward, forward in zip(positions[::2], positions[1::2], strict=True):
        assert backward.y0 == pytest.approx(forward.y0) and backward.x1 < forward.x0
    assert positions[0].y1 < positions[2].y0 < positions[4].y0
    for axes in (maps[2], maps[3]):
        image = axes.images[0]
        assert image.norm.vmin == -image.norm.vmax == -np.abs(image.get_array()).max()
    texts = [text.get_text() for text in figure.texts if text.get_text()]
    assert {"filter 5x5, stride 4", "unpool", "backward pass:\nsignals"} <= {*texts}
    assert any("keep one activation of CL2:2" in text for text in texts)
    assert texts.count("switches") == 1
    renderer = figure.canvas.get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        if text.get_text():
            assert not any(box.overlaps(axes.get_window_extent()) for axes in maps), text


def test_levels_and_steps_are_named_by_layer_shape_and_module():
    maps = torch.zeros(6, 14, 14)
    modules = {
        "0.0": (nn.Conv2d(3, 6, 5, 2), maps),
        "0.1": (nn.ReLU(), maps),
        "0.2": (nn.MaxPool2d(3, 2), maps),
        "0.3": (nn.Identity(), maps),
        "2": (nn.Linear(6, 4), torch.zeros(4)),
    }
    stages = [deconvnet.Stage(name, *module, *[output] * 4, 0)
              for name, (*module, output) in modules.items()]  # fmt: skip
    trace = deconvnet.ProjectionTrace("2:0", maps[:3], maps[:3], tuple(stages))
    drawing = figures.deconvnet.projection_trace(trace, {"0.0": 0.5, "0.2": 0.25})
    assert drawing.arrays["errors"] == [0.5, 0.25]
    figure = drawing.figure
    texts = [text.get_text() for text in figure.texts if text.get_text()]
    assert {"image and\nprojection", "0.0\nmap 0 of 6\n14x14", "2\n4 units"} <= {*texts}
    assert {"filter 5x5, stride 2", "max-pool 3x3, stride 2", "Identity", "Linear"} <= {*texts}
    assert {"filter, transposed", "unpool", "Identity, reversed"} <= {*texts}
    assert texts.count("rectify") == 2 and texts.count("switches") == 1


def _labels(drawing: figures.Drawing) -> str:
    return "\n".join(text.get_text() for text in drawing.figure.texts)


def _units() -> deconvnet.TopProjections:
    """Return two units of a layer with three projections of 4x6 pixels each."""
    images = torch.zeros(2, 3, dtype=torch.int64)
    boxes = torch.tensor([0, 0, 4, 6]).expand(2, 3, 4)
    pixels = torch.randn(2, 3, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    return deconvnet.TopProjections(
        torch.tensor([5, 8]), images, images.float(), boxes[..., :2], boxes, pixels
    )


def test_projections_stand_beside_the_images_of_their_unit():
    shown, patches = {"CL1": _units(), "CL2": _units()}, {}
    for layer, top in shown.items():
        patches[layer] = top.projections.sigmoid()
    drawing = figures.deconvnet.top_projections(shown, patches, 1)
    assert len(drawing.figure.axes) == 4
    assert {"CL1:5, projections", "CL2:5, images", "CL2\n4x6 px"} <= {
        text.get_text() for text in drawing.figure.texts
    }
    assert torch.equal(drawing.arrays["CL2"], shown["CL2"].projections[:1])
    by_rule = {rule: {n: top.projections[:, 0] for n, top in shown.items()}
               for rule in ("guided", "desalinet_centred")}  # fmt: skip
    drawing = figures.deconvnet.backward_rules(by_rule, patches, {"CL1": [5], "CL2": [8]})
    assert len(drawing.figure.axes) == 6 and "CL2:8" in _labels(drawing)
    assert "desalinet,\nno switches" in _labels(drawing)
    assert torch.equal(drawing.arrays["guided"], by_rule["guided"]["CL2"])


def test_all_explanations_are_in_the_arrays_and_some_in_the_figure():
    model, image = models.load("alexnet_mini"), torch.rand(3, 128, 128)
    one = deconvnet.explain(model, image, "CL5", rules=["guided"], side=64, step=64)
    drawing = figures.deconvnet.occlusion([one] * 6)
    assert len(drawing.figure.axes) == 4 * 5
    assert drawing.arrays["guided"] == [one.agreement("guided")] * 6
    assert f"r = {one.agreement('guided'):.2f}" in _labels(drawing)


def test_faces_are_shown_with_each_part_occluded():
    images = torch.zeros(7, 3, 16, 16)
    parts = {name: torch.tensor([[2, 2, 5, 6]]).expand(7, 4) for name in ("nose", "mouth")}
    faces = deconvnet.Faces(images, parts, torch.tensor([[0, 0, 16, 16]]).expand(7, 4))
    by_part = {"nose": 0.25, "mouth": 0.5, "random": 0.75}
    distances = deconvnet.PartDistances({"CL5.relu": by_part}, True)
    drawing = figures.deconvnet.correspondence(faces, distances, 0)
    assert len(drawing.figure.axes) == 5 * 4
    assert drawing.arrays == {"CL5 relu": [0.25, 0.5, 0.75]}
    assert "mouth occluded,\nmean distance\nCL5.relu: 0.500" in _labels(drawing)
    shown = [axes.images[0].get_array() for axes in drawing.figure.axes]
    assert not shown[0].any() and (shown[5][2:5, 2:6] == 0.5).all()


def test_distances_and_probabilities_have_axes_of_their_own():
    one = deconvnet.Invariance(
        (0, 1, 2), {"CL1": torch.tensor([[0.0], [1], [2]])}, {"CL1": 2.0}, torch.ones(3, 1)
    )
    drawing = figures.deconvnet.invariance({"translation": one, "rotation": one})
    axes = drawing.figure.axes
    labels = [one.get_ylabel() for one in axes]
    assert labels == ["relative distance"] * 2 + ["probability"] * 2
    assert axes[2].get_xlabel() == "vertical shift (px)"
    assert axes[0].lines[0].get_ydata().tolist() == [0, 0.5, 1] and axes[0].get_ylim()[1] < 1.1
    far = deconvnet.Invariance(
        (0, 1), {"0": torch.tensor([[0.0], [7]])}, {"0": 1.0}, torch.ones(2, 1)
    )
    higher = figures.deconvnet.invariance({"scale": far}).figure.axes[0]
    assert higher.get_ylim()[1] > max(max(line.get_ydata()) for line in higher.lines) > 6
    assert [*drawing.arrays] == ["translation", "rotation"]


def test_frames_are_named_only_if_a_design_has_faults():
    model = models.load("alexnet_mini")
    dataset = data.open_images("", 128, 2)
    alone = deconvnet.compare_designs(model, None, dataset, ["CL1", "CL2"])
    (report,) = alone.reports.values()
    drawing = figures.deconvnet.designs(alone)
    assert torch.equal(drawing.arrays["alexnet_mini second"], report.second_layer)
    report.diagnosis.layers[1].firing_rates[:] = 0.5
    report.diagnosis.layers[0].firing_rates[:] = 0.5
    report.diagnosis.layers[1].aliasing[:] = 0.1
    assert "there are none" in figures.deconvnet.designs(alone).caption
    report.diagnosis.layers[1].firing_rates[3] = 0
    framed = figures.deconvnet.designs(alone)
    assert [t.get_text() for t in framed.figure.legends[0].get_texts()] == ["dead"]
    charts = figures.deconvnet.design_charts(alone)
    ticks = [label.get_text() for label in charts.figure.axes[1].get_xticklabels()]
    assert ticks == ["CL1", "CL2"] and charts.figure.axes[0].get_xlabel() == "cycles per pixel"
    assert [*charts.arrays] == ["alexnet_mini firing"]
