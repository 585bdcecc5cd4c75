"""The way of one picture up through a network, and of one unit's signal down again, drawn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import projections
from .style import COLORS, FAINT, INK, Array, blank, house_style, numbers

CELL, GAP, WORDS, MIDDLE = 1.15, 0.46, 1.25, 1.5  # inches


def there_and_back(
    forward: Sequence[Array],
    backward: Sequence[Array],
    *,
    names: Sequence[str],
    steps: Sequence[str],
    back_steps: Sequence[str],
    switches: Sequence[int] = (),
    turn: str = "",
) -> Figure:
    """Draw a network's maps from the picture up, and beside them its signals down to the pixels.

    Args:
        forward: the picture (3, h, w) in [0, 1], then a map (h, w) after each step, of any range:
            red where positive, blue where negative, white at zero.
        backward: what arrives at the same places on the way back, in the same order; at the
            picture (3, h, w), of both signs.
        names: of the places, written between the two.
        steps: what leads from each place to the next on the way up.
        back_steps: what leads from there down again.
        switches: steps whose choices the way back takes over.
        turn: what becomes of the topmost map before it goes back.
    """
    width, pitch = 2 * (WORDS + CELL) + MIDDLE, CELL + GAP
    height = len(forward) * pitch + 0.45
    left, right = WORDS, WORDS + CELL + MIDDLE
    with house_style():
        figure = blank(width, height)
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, width), ylim=(0, height))
        page.set_axis_off()
        signals = [projections(numbers(backward[0])[None])[0], *backward[1:]]
        for level, name in enumerate(names):
            bottom = 0.12 + level * pitch
            cell(figure, left, bottom, signals[level])
            cell(figure, right, bottom, forward[level])
            middle = (left + CELL + right) / 2
            page.text(middle, bottom + CELL / 2, name, ha="center", va="center", size=8.5)
        for level, (up, down) in enumerate(zip(steps, back_steps, strict=True)):
            bottom = 0.12 + level * pitch + CELL
            _step(page, right + CELL / 2, bottom, up, True)
            _step(page, left + CELL / 2, bottom, down, False)
            if level in switches:
                _switches(page, right + CELL / 2, left + CELL / 2, bottom + GAP / 2)
        _turn(page, left + CELL / 2, right + CELL / 2, height - 0.45 - GAP + 0.12, turn)
        for x, word in ((left, "back"), (right, "forward")):
            page.text(x + CELL / 2, height - 0.12, word, ha="center", va="top", weight="bold")
    return figure


def cell(
    figure: Figure, x: float, y: float, picture: Array, color: str = FAINT, line: float = 0.8
) -> None:
    """Draw a picture (3, h, w) or a map (h, w) in a frame, `CELL` wide, at x, y in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, CELL / width, CELL / height))
    array = numbers(picture)
    if array.ndim == 3:
        axes.imshow(np.clip(array.transpose(1, 2, 0), 0, 1))
    else:
        largest = max(float(np.abs(array).max()), 1e-12)
        axes.imshow(array, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=color, lw=line)


def _step(page: Axes, x: float, bottom: float, words: str, up: bool) -> None:
    ends = (bottom + 0.04, bottom + GAP - 0.04)
    tail, head = ends if up else ends[::-1]
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", (x, head), (x, tail), arrowprops=arrow)
    side, place = ("left", x + 0.12) if up else ("right", x - 0.12)
    page.text(place, bottom + GAP / 2, words, ha=side, va="center", size=8)


def _switches(page: Axes, start: float, end: float, y: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": COLORS[1], "lw": 1.1, "ls": "--"}
    page.annotate("", (end + 0.06, y), (start - 0.06, y), arrowprops=arrow)
    page.text((start + end) / 2, y + 0.04, "switches", ha="center", size=8, color=COLORS[1])


def _turn(page: Axes, left: float, right: float, y: float, words: str) -> None:
    """From the topmost map over to the signal that goes back."""
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.plot([right, right, left], [y + 0.04, y + 0.16, y + 0.16], color=INK, lw=1.2)
    page.annotate("", (left, y + 0.02), (left, y + 0.17), arrowprops=arrow)
    page.text((left + right) / 2, y + 0.2, words, ha="center", va="bottom", size=8)
