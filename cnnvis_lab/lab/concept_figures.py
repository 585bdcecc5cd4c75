"""Figures of units and concepts: masks on pictures, counts by category, points, the way of it."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import COLORS, FAINT, INK, Array, blank, house_style, legend_below, numbers

# One colour for a category wherever it occurs; others take what is left of the house's.
CATEGORIES = ("color", "texture", "material", "part", "object", "scene")
CELL, GAP = 1.35, 0.62  # of the drawn pipeline, in inches


def category_colors(names: Sequence[str]) -> dict[str, str]:
    """Return the colour of each category, in the house's order of categories."""
    known = [name for name in CATEGORIES if name in names]
    ordered = [*known, *(name for name in names if name not in known)]
    fixed = dict(zip(CATEGORIES, COLORS, strict=False))
    rest = cycle(COLORS[len(CATEGORIES) :])
    return {name: fixed.get(name) or next(rest) for name in ordered}


def masked(picture: Array, mask: Array, beyond: float = 0.0) -> np.ndarray:
    """Show a picture where a mask is, and dark beyond it.

    Args:
        picture: (3, h, w) in [0, 1].
        mask: (y, x), of any resolution.
        beyond: how bright the rest is, 0 to 1.
    """
    picture, mask = numbers(picture), numbers(mask).astype(bool)
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(picture.shape[1:], mask.shape, strict=True)
    )
    return np.where(mask[rows[:, None], columns], picture, beyond * picture)


def stacked(
    labels: Sequence[str],
    parts: Mapping[str, Array],
    *,
    title: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw one bar a label, which may have several lines, made of a part for each category."""
    colors = category_colors(list(parts))
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    with house_style():
        figure, axes = _chart(size, title, "", ylabel, room=0.14 * max(lines - 2, 0))
        under = np.zeros(len(labels))
        for name, color in colors.items():
            heights = numbers(parts[name])
            axes.bar(range(len(labels)), heights, bottom=under, color=color, width=0.7)
            under = under + heights
        for place, total in enumerate(under):
            axes.text(place, total, f"{total:g}", ha="center", va="bottom", size=8, color=INK)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(0, max(float(under.max()), 1) * 1.12)
        legend_below(figure, colors, 0.5)
    return figure


def scatter(
    groups: Mapping[str, tuple[Array, Array]],
    *,
    named: Sequence[tuple[float, float, str]] = (),
    diagonal: bool = False,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (5.2, 4.2),
) -> Figure:
    """Draw points.

    Args:
        groups: category -> the points' x and y.
        named: x, y and the word written beside a point, the weightiest first; words that would
            run into an earlier one are left out.
        diagonal: draw the line where y is x, and begin both axes at 0.
        title: above it.
        xlabel: below it.
        ylabel: to its left.
        size: in inches.
    """
    colors = category_colors(list(groups))
    with house_style():
        figure, axes = _chart(size, title, xlabel, ylabel)
        for name, color in colors.items():
            x, y = (numbers(part) for part in groups[name])
            axes.scatter(x, y, s=18, color=color, alpha=0.8, linewidths=0)
        if diagonal:
            ends = [numbers(part).max() for group in groups.values() for part in group if len(part)]
            axes.plot([0, max(ends)], [0, max(ends)], color=FAINT, lw=1, ls="--")
            axes.set(xlim=(0, None), ylim=(0, None))
        _write_beside(axes, named)
        legend_below(figure, colors, 0.5)
    return figure


def _write_beside(axes: Axes, named: Sequence[tuple[float, float, str]]) -> None:
    taken: list[tuple[float, float, float, float]] = []
    for x, y, word in named:
        left, low = axes.transData.transform((x, y))
        right, high = left + 6.2 * len(word), low + 11  # pixels, at the figure's own 100 an inch
        if all(right < a or c < left or high < b or d < low for a, b, c, d in taken):
            taken.append((left, low, right, high))
            axes.annotate(word, (x, y), (3, 3), textcoords="offset points", size=6.5, color=INK)


def _chart(
    size: tuple[float, float], title: str, xlabel: str, ylabel: str, room: float = 0.0
) -> tuple[Figure, Axes]:
    """Axes with room for a legend below, and some more."""
    (width, height), below = size, 0.62 + 0.18 * bool(xlabel) + room
    figure = blank(width, height)
    axes = figure.add_axes(
        (0.62 / width, below / height, 1 - 0.8 / width, 1 - (below + 0.34) / height)
    )
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def pipeline(
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
    pitch = CELL + GAP
    width, height = 4 * pitch + 0.1, 2 * CELL + 1.55
    mask, concept = numbers(mask).astype(bool), numbers(concept).astype(bool)
    upper, lower = height - 0.45 - CELL, 0.3
    with house_style():
        figure = blank(width, height)
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, width), ylim=(0, height))
        page.set_axis_off()
        page.text(0.12, height - 0.1, title, va="top", size=9.5)
        shown = [numbers(picture).transpose(1, 2, 0), numbers(activation), numbers(upsampled), mask]
        for place, image in enumerate(shown):
            _placed(figure, page, 0.12 + place * pitch, upper, image, names[place])
        for place, words in enumerate(steps[:3]):
            start = 0.12 + place * pitch + CELL
            _arrow(page, (start + 0.05, upper + CELL / 2), (start + GAP - 0.05, upper + CELL / 2))
            page.text(start + GAP / 2, upper + CELL / 2 + 0.08, words, ha="center", size=7)
        _placed(figure, page, 0.12, lower, concept, names[4])
        both = overlap(mask, concept).transpose(1, 2, 0)
        _placed(figure, page, 0.12 + 3 * pitch, lower, both, names[5])
        _arrow(page, (0.12 + CELL + 0.05, lower + CELL / 2), (0.07 + 3 * pitch, lower + CELL / 2))
        across = 0.12 + 3 * pitch + CELL / 2
        _arrow(page, (across, upper - 0.28), (across, lower + CELL + 0.05))
        page.text(
            0.12 + 2 * pitch - GAP / 2, lower + CELL / 2 + 0.08, steps[3], ha="center", size=8.5
        )
    return figure


def _placed(figure: Figure, page: Axes, x: float, y: float, image: np.ndarray, name: str) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, CELL / width, CELL / height))
    gray = {"vmin": 0, "vmax": 1} if image.dtype == bool else {}
    axes.imshow(image, cmap="gray" if image.dtype == bool else "viridis", **gray)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FAINT, lw=0.8)
    page.text(x + CELL / 2, y - 0.06, name, ha="center", va="top", size=8, color=INK)


def _arrow(page: Axes, tail: tuple[float, float], head: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", head, tail, arrowprops=arrow)


def overlap(mask: Array, concept: Array) -> np.ndarray:
    """Draw a mask (y, x) in orange, a concept in blue, and both in white: (3, y, x)."""
    colors = [(0.1, 0.1, 0.1), (0.84, 0.37, 0.0), (0.0, 0.45, 0.7), (1.0, 1.0, 1.0)]
    both = numbers(mask).astype(int) + 2 * numbers(concept).astype(int)
    return np.array(colors)[both].transpose(2, 0, 1)
