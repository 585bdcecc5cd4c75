"""A picture's way to its code and two ways back, as one flow; what is kept, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .charts import Chart, chart_grid
from .page import CELL_INCHES, add_cell
from .style import COLORS, Array, figure_style, new_figure

GAP, MARGIN, ROW_HEIGHT, HEADER_HEIGHT = 0.42, 0.15, 1.92, 0.5  # inches
NETWORK_COLOR, OPTIMIZATION_COLOR, DECODER_COLOR = COLORS[0], COLORS[2], COLORS[1]
ENERGY_FORMULA = "energy\n$C\\,\\frac{|f(x)-f_0|^2}{|f_0|^2}$\n$+\\;\\lambda(x)$"


def walkthrough(
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
    width, height = (
        2 * MARGIN + (code + 1) * CELL_INCHES + code * GAP,
        HEADER_HEIGHT + rows * ROW_HEIGHT - 0.3,
    )
    with figure_style():
        page = _FlowPage(width, height)
        top, middle, bottom = (
            height - HEADER_HEIGHT - 0.03 - level * ROW_HEIGHT for level in range(3)
        )
        page.title(
            top + HEADER_HEIGHT - 0.03,
            "by regulariser: a descent for every picture",
            OPTIMIZATION_COLOR,
        )
        page.row(descent, steps, range(len(descent) - 1, -1, -1), top, OPTIMIZATION_COLOR)
        page.energy(len(descent), code, top, middle)
        page.title(middle + 0.28, "the network: from the picture to its code $f_0$", NETWORK_COLOR)
        page.row(encoded, names, [*range(len(encoded) - 1), code], middle, NETWORK_COLOR)
        if len(decoded):
            page.title(
                bottom + 0.28, "by up-convolution: a decoder, trained once for all", DECODER_COLOR
            )
            page.row(decoded, stages, range(len(decoded) - 1, -1, -1), bottom, DECODER_COLOR)
            page.down(len(decoded) - 1, code, middle, bottom)
    return page.figure


@dataclass
class _FlowPage:
    """A page whose unit is the inch, with cells in columns from the left."""

    width: float
    height: float

    def __post_init__(self) -> None:
        self.figure = new_figure(self.width, self.height)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.width), ylim=(0, self.height))
        self.axes.set_axis_off()

    def title(self, top: float, words: str, color: str) -> None:
        self.axes.text(MARGIN, top, words, color=color, va="top", weight="bold", size=9)

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
            add_cell(self.figure, _column_left(place), top - CELL_INCHES, picture, color, 1.4)
            middle = _column_left(place) + CELL_INCHES / 2
            self.axes.text(middle, top - CELL_INCHES - 0.05, word, ha="center", va="top", size=7.5)
        for here, there in pairwise(places):
            ends = (
                (_column_left(here) + CELL_INCHES, _column_left(there))
                if there > here
                else (_column_left(here), _column_left(there) + CELL_INCHES)
            )
            self._arrow([(x, top - CELL_INCHES / 2) for x in ends], color)

    def energy(self, count: int, code: int, top: float, middle: float) -> None:
        """Draw what is descended, what flows into it, and its slope that moves the picture."""
        left, low, half = _column_left(code), top - CELL_INCHES, top - CELL_INCHES / 2
        box = Rectangle(
            (left, low), CELL_INCHES, CELL_INCHES, fill=False, edgecolor=OPTIMIZATION_COLOR, lw=1.4
        )
        self.axes.add_patch(box)
        self.axes.text(
            left + CELL_INCHES / 2, half, ENERGY_FORMULA, ha="center", va="center", size=9.5
        )
        self._arrow(
            [(left, half), (_column_left(count - 1) + CELL_INCHES, half)], OPTIMIZATION_COLOR
        )
        between = (left + _column_left(count - 1) + CELL_INCHES) / 2
        self.axes.text(between, half + 0.06, "slope", ha="center", va="bottom", size=7.5)
        self._arrow(
            [(left + CELL_INCHES / 2, middle), (left + CELL_INCHES / 2, low)], NETWORK_COLOR
        )
        self.axes.text(left + CELL_INCHES / 2 + 0.06, low - 0.2, "$f_0$", va="center", size=9)
        over = top + 0.12
        for place in range(count):
            x = _column_left(place) + CELL_INCHES / 2
            self.axes.plot([x, x], [top, over], color=NETWORK_COLOR, lw=1.1, ls="--")
        path = [
            (_column_left(0) + CELL_INCHES / 2, over),
            (left + CELL_INCHES / 2, over),
            (left + CELL_INCHES / 2, low + CELL_INCHES),
        ]
        self._arrow(path, NETWORK_COLOR, "--")
        words = "$f(x)$, by the same network"
        self.axes.text(left + CELL_INCHES, over + 0.05, words, ha="right", va="bottom", size=7.5)

    def down(self, first: int, code: int, middle: float, bottom: float) -> None:
        """Lead from the code down to the decoder's first stage."""
        x, half = _column_left(code) + CELL_INCHES / 2, bottom - CELL_INCHES / 2
        start = middle - CELL_INCHES - 0.22
        self._arrow(
            [(x, start), (x, half), (_column_left(first) + CELL_INCHES, half)], DECODER_COLOR
        )
        self.axes.text(x + 0.06, half + 0.3, "$f_0$", va="center", size=9)

    def _arrow(self, path: Sequence[tuple[float, float]], color: str, style: str = "-") -> None:
        """Draw a line through points, with a head at the last."""
        xs, ys = zip(*path[:-1], strict=True)
        self.axes.plot(xs, ys, color=color, lw=1.2, ls=style, solid_capstyle="butt")
        head = {"arrowstyle": "-|>", "color": color, "lw": 1.2, "ls": style}
        head |= {"shrinkA": 0, "shrinkB": 1}
        self.axes.annotate("", path[-1], path[-2], arrowprops=head)


def _column_left(place: int) -> float:
    """Left edge of a column."""
    return MARGIN + place * (CELL_INCHES + GAP)


class LayerChart(NamedTuple):
    """A chart over layers: its title, its unit, and name -> layer -> number of its lines."""

    title: str
    unit: str
    lines: Mapping[str, Mapping[str, float]]
    line: float | None = None


def charts_by_layer(
    rows: Sequence[Sequence[LayerChart]],
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
    drawn = [[_layer_chart(panel, list(layers), words) for panel in row] for row in rows]
    return chart_grid(drawn, size=size)


def _layer_chart(panel: LayerChart, layers: Sequence[str], words: Sequence[str]) -> Chart:
    lines = {
        name: ([layers.index(layer) for layer in own], list(own.values()))
        for name, own in panel.lines.items()
    }
    return Chart(lines, (), panel.title, "layer", panel.unit, panel.line, words)
