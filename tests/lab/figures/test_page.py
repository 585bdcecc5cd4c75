"""A page is measured in inches from its lower left corner."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures import style
from cnnvis_lab.lab.figures.page import Page, draw_box, frame_axes


def _pixels(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.to_png(page.figure))).convert("RGB"))


def _dark_box(pixels: np.ndarray) -> list[float]:
    """Return the left, top, right and bottom edges of the dark pixels, in inches."""
    ys, xs = np.nonzero(pixels.min(2) < 128)
    return [edge / style.DPI for edge in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


def test_an_image_is_drawn_at_its_position():
    page = Page(3, 2)
    page.image(0.5, 0.25, 1, torch.zeros(3, 4, 4))
    assert _pixels(page).shape == (2 * style.DPI, 3 * style.DPI, 3)
    assert _dark_box(_pixels(page)) == pytest.approx([0.5, 0.75, 1.5, 1.75], abs=0.01)


def test_text_lines_and_arrows_are_drawn_at_their_positions():
    page = Page(3, 2)
    page.line([(0.5, 0.5), (2.5, 0.5)])
    left, top, right, bottom = _dark_box(_pixels(page))
    assert (left, right) == pytest.approx((0.5, 2.5), abs=0.03)
    assert (top + bottom) / 2 == pytest.approx(1.5, abs=0.02)
    page = Page(3, 2)
    page.arrow([(0.5, 0.5), (1.0, 0.5), (1.0, 1.5)], "black")
    left, top, right, bottom = _dark_box(_pixels(page))
    assert (left, top) == pytest.approx((0.5, 0.5), abs=0.05)
    assert bottom == pytest.approx(1.5, abs=0.03) and 1.0 < right < 1.1  # half of the head
    page = Page(3, 2)
    page.text(1, 1.5, "H", ha="left", va="top", size=30)
    left, top, _, _ = _dark_box(_pixels(page))
    assert (left, top) == pytest.approx((1, 0.5), abs=0.08)


def test_a_signed_map_is_white_at_zero_and_symmetric():
    page = Page(1, 1)
    axes = page.signed_image(0, 0, 1, torch.tensor([[-2.0, 0.0], [0.0, 1.0]]))
    image = axes.images[0]
    assert image.norm.vmin == -2 and image.norm.vmax == 2
    assert min(image.cmap(image.norm(0.0))[:3]) > 0.95
    gray = page.signed_image(0, 0, 1, torch.full((1, 2, 2), 0.25)).images[0]
    assert gray.cmap(gray.norm(0.25)) == pytest.approx((0.25, 0.25, 0.25, 1), abs=0.01)


def test_frames_and_boxes_have_their_color():
    page = Page(1, 1)
    axes = page.image(0.1, 0.1, 0.8, torch.ones(3, 8, 8))
    frame_axes(axes, "#ff0000", 2)
    draw_box(axes, (2, 3, 5, 7), "#0000ff")
    assert axes.patches[0].get_bbox().extents.tolist() == [2.5, 1.5, 6.5, 4.5]
    colors = {tuple(color) for color in _pixels(page).reshape(-1, 3).tolist()}
    assert {(255, 0, 0), (0, 0, 255)} <= colors


def test_a_legend_names_every_color_and_without_colors_none_is_drawn():
    page = Page(3, 1)
    page.legend({})
    assert not page.figure.legends
    page.legend({"a": "#ff0000", "b": "#00ff00"})
    (legend,) = page.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
