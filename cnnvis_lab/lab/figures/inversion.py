"""Figures of inversion: survey figure F8, and charts of measures by layer."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.figure import Figure

from .charts import Chart, chart_grid
from .page import Page, frame_axes
from .style import COLORS, Array, figure_style

CELL, GAP, MARGIN, ROW_HEIGHT, HEADER_HEIGHT = 1.15, 0.42, 0.15, 1.92, 0.5  # inches
NETWORK_COLOR, OPTIMIZATION_COLOR, DECODER_COLOR = COLORS[0], COLORS[2], COLORS[1]
ENERGY_FORMULA = "energy\n$C\\,\\frac{|f(x)-f_0|^2}{|f_0|^2}$\n$+\\;\\lambda(x)$"


@figure_style()
def walkthrough(
    encoded: Sequence[Array],
    descent: Sequence[Array],
    decoded: Sequence[Array] = (),
    *,
    names: Sequence[str],
    steps: Sequence[str],
    stages: Sequence[str] = (),
) -> Figure:
    """Draw how an image is encoded and how its code is inverted: by optimization and by a decoder.

    Args:
        encoded: the image (3, h, w) in [0, 1], then maps (h, w) up to the code.
        descent: images in the order of the optimization, drawn from right to left.
        decoded: the decoder's maps in the order of its layers, its image last; empty for none.
        names: labels of the image and the maps, of one or two lines.
        steps: of the optimization.
        stages: of the decoder.
    """
    code = max(len(encoded) - 1, len(descent), len(decoded))  # column of the code
    page = Page(
        2 * MARGIN + (code + 1) * CELL + code * GAP,
        HEADER_HEIGHT + (3 if len(decoded) else 2) * ROW_HEIGHT - 0.3,
    )
    first = page.height - HEADER_HEIGHT - 0.03 - CELL
    top, middle, bottom = (first - row * ROW_HEIGHT for row in range(3))
    _draw_title(
        page, page.height - 0.06, "by regulariser: a descent for every picture", OPTIMIZATION_COLOR
    )
    columns = range(len(descent) - 1, -1, -1)
    _draw_row(page, descent, steps, columns, top, OPTIMIZATION_COLOR)
    _draw_energy(page, len(descent), code, top, middle)
    title = "the network: from the picture to its code $f_0$"
    _draw_title(page, middle + CELL + 0.28, title, NETWORK_COLOR)
    columns = [*range(len(encoded) - 1), code]
    _draw_row(page, encoded, names, columns, middle, NETWORK_COLOR)
    if len(decoded):
        title = "by up-convolution: a decoder, trained once for all"
        _draw_title(page, bottom + CELL + 0.28, title, DECODER_COLOR)
        columns = range(len(decoded) - 1, -1, -1)
        _draw_row(page, decoded, stages, columns, bottom, DECODER_COLOR)
        # From the code down to the decoder's first stage.
        x, half = _left(code) + CELL / 2, bottom + CELL / 2
        path = [(x, middle - 0.22), (x, half), (_left(columns[0]) + CELL, half)]
        page.arrow(path, DECODER_COLOR)
        page.text(x + 0.06, half + 0.3, "$f_0$", va="center", size=9)
    return page.figure


def _left(column: int) -> float:
    """Left edge of a column."""
    return MARGIN + column * (CELL + GAP)


def _draw_title(page: Page, y: float, title: str, color: str) -> None:
    page.text(MARGIN, y, title, color=color, va="top", weight="bold", size=9)


def _draw_row(
    page: Page,
    images: Sequence[Array],
    labels: Sequence[str],
    columns: Sequence[int],
    y: float,
    color: str,
) -> None:
    """Draw framed images at height y, labels under them, and an arrow from each to the next."""
    for image, label, column in zip(images, labels, columns, strict=True):
        frame_axes(page.signed_image(_left(column), y, CELL, image), color, 1.4)
        middle = _left(column) + CELL / 2
        page.text(middle, y - 0.05, label, ha="center", va="top", size=7.5)
    for column, target in pairwise(columns):
        right = target > column
        ends = _left(column) + CELL * right, _left(target) + CELL * (not right)
        page.arrow([(x, y + CELL / 2) for x in ends], color)


def _draw_energy(page: Page, count: int, code: int, y: float, middle: float) -> None:
    """Draw the energy, its two inputs, and its gradient, which changes the image.

    Args:
        page: the page.
        count: images of the optimization.
        code: column of the code.
        y: lower edge of the row of the optimization.
        middle: lower edge of the row of the network.
    """
    left, half, top = _left(code), y + CELL / 2, y + CELL
    center, last = left + CELL / 2, _left(count - 1) + CELL
    square = [(left, top), (left + CELL, top), (left + CELL, y), (left, y), (left, top)]
    page.line(square, OPTIMIZATION_COLOR, lw=1.4)
    page.text(center, half, ENERGY_FORMULA, ha="center", va="center", size=9.5)
    page.arrow([(left, half), (last, half)], OPTIMIZATION_COLOR)
    page.text((left + last) / 2, half + 0.06, "slope", ha="center", va="bottom", size=7.5)
    page.arrow([(center, middle + CELL), (center, y)], NETWORK_COLOR)
    page.text(center + 0.06, y - 0.2, "$f_0$", va="center", size=9)
    above = top + 0.12
    for column in range(count):
        x = _left(column) + CELL / 2
        page.line([(x, top), (x, above)], NETWORK_COLOR, lw=1.1, ls="--")
    page.arrow([(_left(0) + CELL / 2, above), (center, above), (center, top)], NETWORK_COLOR, "--")
    label = "$f(x)$, by the same network"
    page.text(left + CELL, above + 0.05, label, ha="right", va="bottom", size=7.5)


class LayerChart(NamedTuple):
    """A chart over layers: title, unit, and its lines as name -> layer -> value."""

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
        layers: in order. The axis shows their names without ".relu", or numbers from 1 if the
            names are long.
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
