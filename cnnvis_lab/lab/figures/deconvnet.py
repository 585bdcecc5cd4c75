"""Survey figure F4: the maps of a network beside the signals of its backward pass."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .images import normalize_projections
from .page import CELL_INCHES, GAP_INCHES, LABEL_INCHES, MIDDLE_INCHES, add_cell
from .style import COLORS, INK, Array, figure_style, new_figure, to_numpy


def projection_trace(
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
    width, pitch = 2 * (LABEL_INCHES + CELL_INCHES) + MIDDLE_INCHES, CELL_INCHES + GAP_INCHES
    height = len(forward) * pitch + 0.45
    left, right = LABEL_INCHES, LABEL_INCHES + CELL_INCHES + MIDDLE_INCHES
    with figure_style():
        figure = new_figure(width, height)
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, width), ylim=(0, height))
        page.set_axis_off()
        signals = [normalize_projections(to_numpy(backward[0])[None])[0], *backward[1:]]
        for level, name in enumerate(names):
            bottom = 0.12 + level * pitch
            add_cell(figure, left, bottom, signals[level])
            add_cell(figure, right, bottom, forward[level])
            middle = (left + CELL_INCHES + right) / 2
            page.text(middle, bottom + CELL_INCHES / 2, name, ha="center", va="center", size=8.5)
        for level, (up, down) in enumerate(zip(steps, back_steps, strict=True)):
            bottom = 0.12 + level * pitch + CELL_INCHES
            _draw_step(page, right + CELL_INCHES / 2, bottom, up, True)
            _draw_step(page, left + CELL_INCHES / 2, bottom, down, False)
            if level in switches:
                _draw_switches(
                    page, right + CELL_INCHES / 2, left + CELL_INCHES / 2, bottom + GAP_INCHES / 2
                )
        _draw_turn(
            page,
            left + CELL_INCHES / 2,
            right + CELL_INCHES / 2,
            height - 0.45 - GAP_INCHES + 0.12,
            turn,
        )
        for x, word in ((left, "back"), (right, "forward")):
            page.text(
                x + CELL_INCHES / 2, height - 0.12, word, ha="center", va="top", weight="bold"
            )
    return figure


def _draw_step(page: Axes, x: float, bottom: float, words: str, up: bool) -> None:
    ends = (bottom + 0.04, bottom + GAP_INCHES - 0.04)
    tail, head = ends if up else ends[::-1]
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", (x, head), (x, tail), arrowprops=arrow)
    side, place = ("left", x + 0.12) if up else ("right", x - 0.12)
    page.text(place, bottom + GAP_INCHES / 2, words, ha=side, va="center", size=8)


def _draw_switches(page: Axes, start: float, end: float, y: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": COLORS[1], "lw": 1.1, "ls": "--"}
    page.annotate("", (end + 0.06, y), (start - 0.06, y), arrowprops=arrow)
    page.text((start + end) / 2, y + 0.04, "switches", ha="center", size=8, color=COLORS[1])


def _draw_turn(page: Axes, left: float, right: float, y: float, words: str) -> None:
    """From the topmost map over to the signal that goes back."""
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    page.plot([right, right, left], [y + 0.04, y + 0.16, y + 0.16], color=INK, lw=1.2)
    page.annotate("", (left, y + 0.02), (left, y + 0.17), arrowprops=arrow)
    page.text((left + right) / 2, y + 0.2, words, ha="center", va="bottom", size=8)
