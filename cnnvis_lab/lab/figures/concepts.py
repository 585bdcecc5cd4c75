"""Figures of units and concepts: masks on pictures, counts by category, points, the way of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import INK, MUTED, Array, figure_style, new_figure, to_numpy

CELL_INCHES, GAP_INCHES = 1.35, 0.62  # of the drawn pipeline, in inches


def masked_image(picture: Array, mask: Array, beyond: float = 0.0) -> np.ndarray:
    """Show a picture where a mask is, and dark beyond it.

    Args:
        picture: (3, h, w) in [0, 1].
        mask: (y, x), of any resolution.
        beyond: how bright the rest is, 0 to 1.
    """
    picture, mask = to_numpy(picture), to_numpy(mask).astype(bool)
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(picture.shape[1:], mask.shape, strict=True)
    )
    return np.where(mask[rows[:, None], columns], picture, beyond * picture)


def dissection_pipeline(
    picture: Array,
    activation: Array,
    upsampled: Array,
    mask: Array,
    concept: Array,
    *,
    names: Sequence[str],
    steps: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw how one unit is dissected on one picture, and below it what is compared.

    Args:
        picture: (3, h, w) in [0, 1].
        activation: (h, w), the unit's map.
        upsampled: (y, x), the map at label resolution.
        mask: (y, x), where it exceeds the threshold.
        concept: (y, x), where the concept is.
        names: of picture, map, upsampled map, mask, concept and overlap.
        steps: what leads from each of the first four to the next, and from both masks to the last.
        title: above it.
    """
    pitch = CELL_INCHES + GAP_INCHES
    width, height = 4 * pitch + 0.1, 2 * CELL_INCHES + 1.55
    mask, concept = to_numpy(mask).astype(bool), to_numpy(concept).astype(bool)
    upper, lower = height - 0.45 - CELL_INCHES, 0.3
    with figure_style():
        figure = new_figure(width, height)
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, width), ylim=(0, height))
        page.set_axis_off()
        page.text(0.12, height - 0.1, title, va="top", size=9.5)
        shown = [
            to_numpy(picture).transpose(1, 2, 0),
            to_numpy(activation),
            to_numpy(upsampled),
            mask,
        ]
        for place, image in enumerate(shown):
            _place_image(figure, page, 0.12 + place * pitch, upper, image, names[place])
        for place, words in enumerate(steps[:3]):
            start = 0.12 + place * pitch + CELL_INCHES
            _draw_arrow(
                page,
                (start + 0.05, upper + CELL_INCHES / 2),
                (start + GAP_INCHES - 0.05, upper + CELL_INCHES / 2),
            )
            page.text(
                start + GAP_INCHES / 2, upper + CELL_INCHES / 2 + 0.08, words, ha="center", size=7
            )
        _place_image(figure, page, 0.12, lower, concept, names[4])
        both = overlap_image(mask, concept).transpose(1, 2, 0)
        _place_image(figure, page, 0.12 + 3 * pitch, lower, both, names[5])
        _draw_arrow(
            page,
            (0.12 + CELL_INCHES + 0.05, lower + CELL_INCHES / 2),
            (0.07 + 3 * pitch, lower + CELL_INCHES / 2),
        )
        across = 0.12 + 3 * pitch + CELL_INCHES / 2
        _draw_arrow(page, (across, upper - 0.28), (across, lower + CELL_INCHES + 0.05))
        page.text(
            0.12 + 2 * pitch - GAP_INCHES / 2,
            lower + CELL_INCHES / 2 + 0.08,
            steps[3],
            ha="center",
            size=8.5,
        )
    return figure


def _place_image(
    figure: Figure, page: Axes, x: float, y: float, image: np.ndarray, name: str
) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, CELL_INCHES / width, CELL_INCHES / height))
    gray = {"vmin": 0, "vmax": 1} if image.dtype == bool else {}
    axes.imshow(image, cmap="gray" if image.dtype == bool else "viridis", **gray)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=MUTED, lw=0.8)
    page.text(x + CELL_INCHES / 2, y - 0.06, name, ha="center", va="top", size=8, color=INK)


def _draw_arrow(page: Axes, tail: tuple[float, float], head: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", head, tail, arrowprops=arrow)


def overlap_image(mask: Array, concept: Array) -> np.ndarray:
    """Draw a mask (y, x) in orange, a concept in blue, and both in white: (3, y, x)."""
    colors = [(0.1, 0.1, 0.1), (0.84, 0.37, 0.0), (0.0, 0.45, 0.7), (1.0, 1.0, 1.0)]
    both = to_numpy(mask).astype(int) + 2 * to_numpy(concept).astype(int)
    return np.array(colors)[both].transpose(2, 0, 1)
