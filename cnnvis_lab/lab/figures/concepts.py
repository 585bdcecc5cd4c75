"""Figures of units and concepts: masked images, overlaps, and survey figure F12."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch.nn.functional import max_pool2d

from .page import Page, frame_axes
from .style import INK, Array, figure_style, to_numpy

CELL, GAP = 1.35, 0.62  # of the pipeline, in inches
MASKED_SIZE = 128  # of an image with an outlined region, in pixels, at least
OUTLINE_COLOR, OUTSIDE_BRIGHTNESS = "#FFE600", 0.35


def masked_image(image: Array, mask: Array) -> np.ndarray:
    """Outline a region of an image and dim the rest, so that it is seen on any image.

    The outline lies outside the region, on dimmed pixels, where its color always stands out.

    Args:
        image: (3, h, w) in [0, 1].
        mask: (y, x), of any resolution.

    Returns:
        The image (3, y, x), enlarged by a whole factor if it is small.
    """
    image, mask = to_numpy(image), to_numpy(mask).astype(bool)
    repeats = -(-MASKED_SIZE // max(image.shape[1:]))
    large = image.repeat(repeats, 1).repeat(repeats, 2)
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(large.shape[1:], mask.shape, strict=True)
    )
    inside = mask[rows[:, None], columns]
    width = max(large.shape[1:]) // 64
    grown = max_pool2d(torch.from_numpy(inside)[None].float(), 2 * width + 1, 1, width)[0] > 0
    outline = grown.numpy() & ~inside
    color = np.array(to_rgb(OUTLINE_COLOR), dtype=large.dtype)[:, None, None]
    return np.where(outline, color, np.where(inside, large, OUTSIDE_BRIGHTNESS * large))


@figure_style()
def dissection_pipeline(
    image: Array,
    activation: Array,
    upsampled: Array,
    mask: Array,
    concept: Array,
    *,
    names: Sequence[str],
    steps: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw survey figure F12: how a unit is dissected on one image.

    Args:
        image: (3, h, w) in [0, 1].
        activation: (h, w), the unit's map.
        upsampled: (y, x), the map at label resolution.
        mask: (y, x), where it exceeds the threshold.
        concept: (y, x), where the concept is.
        names: of image, map, upsampled map, mask, concept and overlap.
        steps: between the first four, and from both masks to their overlap.
        title: above the figure.
    """
    page = Page(4 * (CELL + GAP) + 0.1, 2 * CELL + 1.55)
    lefts = [0.12 + column * (CELL + GAP) for column in range(4)]
    upper, lower = page.height - 0.45 - CELL, 0.3
    page.text(lefts[0], page.height - 0.1, title, va="top", size=9.5)
    _draw_cell(page, lefts[0], upper, image, names[0])
    for x, maps, name in zip(lefts[1:3], (activation, upsampled), names[1:3], strict=True):
        _draw_cell(page, x, upper, maps, name, cmap="viridis", limits=None)
    _draw_cell(page, lefts[3], upper, mask, names[3])
    _draw_cell(page, lefts[0], lower, concept, names[4])
    _draw_cell(page, lefts[3], lower, overlap_image(mask, concept), names[5])
    half = upper + CELL / 2
    for x, step in zip(lefts, steps[:3], strict=False):
        page.arrow([(x + CELL + 0.05, half), (x + CELL + GAP - 0.05, half)])
        page.text(x + CELL + GAP / 2, half + 0.08, step, ha="center", size=7)
    half, center = lower + CELL / 2, lefts[3] + CELL / 2
    page.arrow([(lefts[0] + CELL + 0.05, half), (lefts[3] - 0.05, half)])
    page.arrow([(center, upper - 0.28), (center, lower + CELL + 0.05)])
    page.text(lefts[2] - GAP / 2, half + 0.08, steps[3], ha="center", size=8.5)
    return page.figure


def _draw_cell(page: Page, x: float, y: float, image: Array, name: str, **scale: Any) -> None:
    """Draw a framed image, and its name under it."""
    frame_axes(page.image(x, y, CELL, image, **scale))
    page.text(x + CELL / 2, y - 0.06, name, ha="center", va="top", size=8, color=INK)


def overlap_image(mask: Array, concept: Array) -> np.ndarray:
    """Color a mask (y, x) orange, a concept blue, and their overlap white: (3, y, x)."""
    colors = [(0.1, 0.1, 0.1), (0.84, 0.37, 0.0), (0.0, 0.45, 0.7), (1.0, 1.0, 1.0)]
    both = to_numpy(mask).astype(int) + 2 * to_numpy(concept).astype(int)
    return np.array(colors)[both].transpose(2, 0, 1)
