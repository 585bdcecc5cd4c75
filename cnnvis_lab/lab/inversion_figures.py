"""A picture's way to its code and two ways back, as one flow; what is kept, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .charts import Chart, charts
from .schematic import CELL, cell
from .style import COLORS, Array, blank, house_style

GAP, LEFT, ROW, OVER = 0.42, 0.15, 1.92, 0.5  # inches
NETWORK, DESCENT, DECODER = COLORS[0], COLORS[2], COLORS[1]
ENERGY = "energy\n$C\\,\\frac{|f(x)-f_0|^2}{|f_0|^2}$\n$+\\;\\lambda(x)$"


def two_ways(
    encoded: Sequence[Array],
    descent: Sequence[Array],
    decoded: Sequence[Array] = (),
    *,
    names: Sequence[str],
    steps: Sequence[str],
    stages: Sequence[str] = (),
) -> Figure:
    """Draw a picture's way to its code, and two ways back: above a descent, below a decoder.

    Args:
        encoded: the picture (3, h, w) in [0, 1], then maps (h, w) up to the code.
        descent: pictures in the order in which the descent passes them.
        decoded: the decoder's maps in the order in which it works, its picture last; empty for
            none.
        names: of what is encoded, a line or two each.
        steps: of the descent.
        stages: of the decoder.
    """
    rows = 3 if len(decoded) else 2
    code = max(len(encoded) - 1, len(descent), len(decoded))
    width, height = 2 * LEFT + (code + 1) * CELL + code * GAP, OVER + rows * ROW - 0.3
    with house_style():
        page = _Page(width, height)
        top, middle, bottom = (height - OVER - 0.03 - level * ROW for level in range(3))
        page.title(top + OVER - 0.03, "by regulariser: a descent for every picture", DESCENT)
        page.row(descent, steps, range(len(descent) - 1, -1, -1), top, DESCENT)
        page.energy(len(descent), code, top, middle)
        page.title(middle + 0.28, "the network: from the picture to its code $f_0$", NETWORK)
        page.row(encoded, names, [*range(len(encoded) - 1), code], middle, NETWORK)
        if len(decoded):
            page.title(bottom + 0.28, "by up-convolution: a decoder, trained once for all", DECODER)
            page.row(decoded, stages, range(len(decoded) - 1, -1, -1), bottom, DECODER)
            page.down(len(decoded) - 1, code, middle, bottom)
    return page.figure


@dataclass
class _Page:
    """A page whose unit is the inch, with cells in columns from the left."""

    width: float
    height: float

    def __post_init__(self) -> None:
        self.figure = blank(self.width, self.height)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.width), ylim=(0, self.height))
        self.axes.set_axis_off()

    def title(self, top: float, words: str, color: str) -> None:
        self.axes.text(LEFT, top, words, color=color, va="top", weight="bold", size=9)

    def row(
        self,
        pictures: Sequence[Array],
        words: Sequence[str],
        places: Sequence[int],
        top: float,
        color: str,
    ) -> None:
        """Draw cells below `top`, words under them, and an arrow from each to the next."""
        for picture, word, place in zip(pictures, words, places, strict=True):
            cell(self.figure, _x(place), top - CELL, picture, color, 1.4)
            middle = _x(place) + CELL / 2
            self.axes.text(middle, top - CELL - 0.05, word, ha="center", va="top", size=7.5)
        for here, there in pairwise(places):
            ends = (_x(here) + CELL, _x(there)) if there > here else (_x(here), _x(there) + CELL)
            self._arrow([(x, top - CELL / 2) for x in ends], color)

    def energy(self, count: int, code: int, top: float, middle: float) -> None:
        """Draw what is descended, what flows into it, and its slope that moves the picture."""
        left, low, half = _x(code), top - CELL, top - CELL / 2
        box = Rectangle((left, low), CELL, CELL, fill=False, edgecolor=DESCENT, lw=1.4)
        self.axes.add_patch(box)
        self.axes.text(left + CELL / 2, half, ENERGY, ha="center", va="center", size=9.5)
        self._arrow([(left, half), (_x(count - 1) + CELL, half)], DESCENT)
        between = (left + _x(count - 1) + CELL) / 2
        self.axes.text(between, half + 0.06, "slope", ha="center", va="bottom", size=7.5)
        self._arrow([(left + CELL / 2, middle), (left + CELL / 2, low)], NETWORK)
        self.axes.text(left + CELL / 2 + 0.06, low - 0.2, "$f_0$", va="center", size=9)
        over = top + 0.12
        for place in range(count):
            x = _x(place) + CELL / 2
            self.axes.plot([x, x], [top, over], color=NETWORK, lw=1.1, ls="--")
        path = [(_x(0) + CELL / 2, over), (left + CELL / 2, over), (left + CELL / 2, low + CELL)]
        self._arrow(path, NETWORK, "--")
        words = "$f(x)$, by the same network"
        self.axes.text(left + CELL, over + 0.05, words, ha="right", va="bottom", size=7.5)

    def down(self, first: int, code: int, middle: float, bottom: float) -> None:
        """Lead from the code down to the decoder's first stage."""
        x, half = _x(code) + CELL / 2, bottom - CELL / 2
        start = middle - CELL - 0.22
        self._arrow([(x, start), (x, half), (_x(first) + CELL, half)], DECODER)
        self.axes.text(x + 0.06, half + 0.3, "$f_0$", va="center", size=9)

    def _arrow(self, path: Sequence[tuple[float, float]], color: str, style: str = "-") -> None:
        """Draw a line through points, with a head at the last."""
        xs, ys = zip(*path[:-1], strict=True)
        self.axes.plot(xs, ys, color=color, lw=1.2, ls=style, solid_capstyle="butt")
        head = {"arrowstyle": "-|>", "color": color, "lw": 1.2, "ls": style}
        head |= {"shrinkA": 0, "shrinkB": 1}
        self.axes.annotate("", path[-1], path[-2], arrowprops=head)


def _x(place: int) -> float:
    """Left edge of a column."""
    return LEFT + place * (CELL + GAP)


class Panel(NamedTuple):
    """A chart over layers: its title, its unit, and name -> layer -> number of its lines."""

    title: str
    unit: str
    lines: Mapping[str, Mapping[str, float]]
    line: float | None = None


def by_layer(
    rows: Sequence[Sequence[Panel]],
    layers: Sequence[str],
    *,
    size: tuple[float, float] = (3.3, 2.2),
) -> Figure:
    """Draw numbers over a network's layers.

    Args:
        rows: rows of charts; a line may leave layers out.
        layers: in order. Their names stand below without ".relu", or where these are long, their
            numbers from 1.
        size: width and height of each chart in inches.
    """
    words = [layer.removesuffix(".relu") for layer in layers]
    if max(map(len, words)) > len("CL1"):
        words = [str(number) for number, _ in enumerate(words, 1)]
    drawn = [[_chart(panel, list(layers), words) for panel in row] for row in rows]
    return charts(drawn, size=size)


def _chart(panel: Panel, layers: Sequence[str], words: Sequence[str]) -> Chart:
    lines = {
        name: ([layers.index(layer) for layer in own], list(own.values()))
        for name, own in panel.lines.items()
    }
    return Chart(lines, (), panel.title, "layer", panel.unit, panel.line, words)
