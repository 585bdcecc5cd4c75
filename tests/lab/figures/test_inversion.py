"""Figures of inversion: every cell within the page, numbers at their layers."""

import pytest
import torch

from cnnvis_lab.lab import figures


@pytest.mark.parametrize("decoded", [0, 2])
def test_every_cell_of_the_walkthrough_is_within_the_page(decoded):
    maps = [torch.rand(3, 8, 8), *torch.rand(2, 5, 5)]
    figure = figures.inversion.walkthrough(
        maps,
        maps[:1] * 2,
        maps[1 : 1 + decoded],
        names=["a", "b", "c"],
        steps=["d", "e"],
        stages=["f", "g"][:decoded],
    )
    assert len(figure.axes) == 5 + decoded
    for cell in figure.axes:
        box = cell.get_position()
        assert 0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1
    assert figures.to_png(figure)[:4] == b"\x89PNG"


def test_numbers_are_drawn_at_their_layers():
    panel = figures.inversion.LayerChart("title", "unit", {"line": {"CL3": 0.5, "CL1.relu": 0.25}})
    figure = figures.inversion.charts_by_layer([[panel]], ["CL1.relu", "CL2", "CL3"])
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [2, 0] and line.get_ydata().tolist() == [0.5, 0.25]
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["CL1", "CL2", "CL3"]
    long = figures.inversion.LayerChart("title", "unit", {"line": {"features.3": 0.5}})
    figure = figures.inversion.charts_by_layer([[long]], ["features.3"])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1"]
