"""Survey figure F4 shows every map and signal in its place."""

import numpy as np
import pytest
from support.small_figures import schematic


def test_every_map_and_signal_is_shown_at_its_level_with_its_sign():
    figure = schematic()
    maps = figure.axes
    assert len(maps) == 6
    places = [axes.get_position() for axes in maps]
    for back, forward in zip(places[::2], places[1::2], strict=True):
        assert back.y0 == pytest.approx(forward.y0) and back.x1 < forward.x0
    assert places[0].y1 < places[2].y0 < places[4].y0
    for axes in (maps[2], maps[3]):
        image = axes.images[0]
        assert image.norm.vmin == -image.norm.vmax == -np.abs(image.get_array()).max()
    words = [text.get_text() for text in figure.texts if text.get_text()]
    assert {"filter\n5x5, stride 4", "unpool", "one activation", "pool1", "back", "forward"} <= {
        *words
    }
    assert words.count("switches") == 1
    renderer = figure.canvas.get_renderer()
    for text in figure.texts:
        box = text.get_window_extent(renderer)
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        if text.get_text():
            assert not any(box.overlaps(axes.get_window_extent()) for axes in maps), text
