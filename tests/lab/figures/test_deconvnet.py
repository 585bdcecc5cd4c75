"""Survey figure F4 shows every map and signal at its position."""

import numpy as np
import pytest
import torch
from support.small_figures import schematic
from torch import nn

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
    assert {"filter\n5x5, stride 4", "unpool", "one activation", "back", "forward"} <= {*texts}
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
    figure = figures.deconvnet.projection_trace(maps[:3], maps[:3], stages)
    texts = [text.get_text() for text in figure.texts if text.get_text()]
    assert {"picture", "0.0\n6 maps of\n14x14", "2\n4 units"} <= {*texts}
    assert {"filter\n5x5, stride 2", "max-pool\n3x3, stride 2", "Identity", "Linear"} <= {*texts}
    assert {"filter,\ntransposed", "unpool", "Identity,\nreversed"} <= {*texts}
    assert texts.count("rectify") == 2 and texts.count("switches") == 1
