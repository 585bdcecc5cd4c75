"""Figures of a recorded training show its numbers."""

import numpy as np
import pytest
import torch
from support import recorded_training
from support.recorded_training import AT, LAYERS, labelled_images

from cnnvis_lab.lab import figures
from cnnvis_lab.methods.training_evolution import (
    Evolution,
    Recommendation,
    RunSummary,
    Similarity,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Evolution:
    return recorded_training.recorded(tmp_path_factory.mktemp("recorded"))


def _texts(drawing: figures.Drawing) -> list[str]:
    renderer = drawing.figure.canvas.get_renderer()
    for text in drawing.figure.texts:
        box = text.get_window_extent(renderer)
        assert drawing.figure.bbox.x0 <= box.x0 and box.x1 <= drawing.figure.bbox.x1, text
        assert drawing.figure.bbox.y0 <= box.y0 and box.y1 <= drawing.figure.bbox.y1, text
    return [text.get_text() for text in drawing.figure.texts if text.get_text()]


def test_f7_shows_the_same_projections_with_both_contrasts(recorded):
    drawing = figures.training_evolution.features(recorded, 1)
    for layer in LAYERS:
        assert torch.equal(drawing.arrays[layer], recorded.top_projections(layer))
    cells = [axes.images[0].get_array() for axes in drawing.figure.axes]
    steps = len(AT) - 1  # step 0 is not drawn
    assert len(cells) == 2 * steps * len(LAYERS)
    per_layer, per_image = np.array(cells[:steps]), np.array(cells[steps : 2 * steps])
    assert np.allclose(np.abs(per_image - 0.5).max((1, 2, 3)), 0.5)
    projections = recorded.top_projections("first")[1:]
    largest = int(projections[-1].flatten(1).norm(dim=1).argmax())
    colors = projections[:, largest].permute(0, 2, 3, 1).numpy()
    strong = np.abs(per_layer - 0.5) < 0.499
    ratio = (per_layer - 0.5)[strong] / colors[strong]
    assert np.allclose(ratio, np.median(ratio), rtol=1e-2, atol=1e-4)
    texts = _texts(drawing)
    assert "Projections with\na contrast per image" in texts
    assert f"first:{recorded.units['first'][largest]}" in texts
    assert texts.count("step 1") == texts.count("6") == 2 and "0" not in texts


def test_curves_are_drawn_at_their_steps(recorded):
    values = torch.linspace(0, 1, 2 * len(AT)).view(len(AT), 2)
    final = Similarity(tuple(LAYERS), AT, values, values / 2)
    drawing = figures.training_evolution.similarity(final, values[:, 0])
    cka, correlation, accuracy = drawing.figure.axes
    assert np.allclose(cka.lines[1].get_ydata(), values[:, 1])
    assert np.allclose(correlation.lines[0].get_ydata(), values[:, 0] / 2)
    assert accuracy.lines[0].get_xdata().tolist() == AT
    drawing = figures.training_evolution.top_image_changes(recorded, values[1:], values)
    previous, last = drawing.figure.axes
    assert previous.lines[0].get_xdata().tolist() == AT[1:]
    assert last.lines[0].get_xdata().tolist() == AT
    assert drawing.arrays["before"].shape == (len(AT) - 1, 2)


def test_categories_without_a_detector_are_named_but_not_drawn():
    counts = {"color": torch.tensor([0, 1, 2]), "scene": torch.zeros(3), "part": torch.zeros(3)}
    drawing = figures.training_evolution.detectors([0, 5, 9], counts)
    (axes,) = drawing.figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0, 1, 2]]
    assert "no detector of any scene or part" in drawing.caption and [*drawing.arrays] == [*counts]
    assert "set DATA to a folder" in figures.training_evolution.detectors([0], {})


def test_runs_are_rows_of_kernels_and_numbers():
    kernels = labelled_images().images[:9, :, :7, :7] - 0.5
    stop = {4: Recommendation("continue", ""), 8: Recommendation("stop", "")}
    summaries = {"good": RunSummary(kernels, 0.25, 0.03, 0.41, 0.52, stop)}
    alone = figures.training_evolution.failed_runs(summaries, None)
    assert [*alone.arrays] == ["good"] and "trained for longer" not in alone.caption
    drawing = figures.training_evolution.failed_runs(summaries, 2 * kernels)
    assert "trained for longer" in drawing.caption
    assert [*drawing.arrays] == ["good", "fully trained"]
    texts = _texts(drawing)
    start = texts.index("good")
    assert texts[start : start + 6] == ["good", "25%", "3%", "41%", "52%", "stop"]
    first, second = (drawing.figure.axes[i].images[0].get_array() for i in (0, 8))
    assert np.array_equal(first, second) and len(drawing.figure.axes) == 16
