"""Charts: lines, bars and points, one by one or many in a figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from .page import Page
from .style import (
    CATEGORY_ORDER,
    COLORS,
    INK,
    MUTED,
    Array,
    category_colors,
    figure_style,
    to_numpy,
)

Size = tuple[float, float]  # width and height in inches


BESIDE = 1.9  # inches beside a chart for the legend of many lines, which would hide some of them
MANY = 5
CHARACTER = 0.068  # inches; names below an axis that are longer than the axis are turned


def _new_chart(
    size: Size, below: float, above: float, beside: float = 0.0, **labels: str
) -> tuple[Page, Axes]:
    """Return a page with axes, and room of `below`, `above` and `beside` inches around them."""
    page = Page(size[0] + beside, size[1])
    axes = page.axes(0.62, below, size[0] - 0.8, page.height - above - below)
    axes.set(**labels)
    return page, axes


@figure_style()
def line_chart(
    series: Mapping[str, tuple[Array, Array]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """Draw lines.

    Args:
        series: name -> x and y values.
        title: above the chart.
        xlabel: below it.
        ylabel: to its left.
    """
    beside = BESIDE if len(series) >= MANY else 0
    labels = {"title": title, "xlabel": xlabel, "ylabel": ylabel}
    page, axes = _new_chart((5.6, 3.0), 0.5, 0.32, beside, **labels)
    for color, (name, (x, y)) in zip(cycle(COLORS), series.items(), strict=False):
        axes.plot(to_numpy(x), to_numpy(y), _marker(x), color=color, label=name, lw=1.6)
    if any(series):
        axes.legend(**{"loc": "center left", "bbox_to_anchor": (1, 0.5)} if beside else {})
    return page.figure


def _marker(x: Array) -> str:
    """Return the format of a line; a single point has no line that would show it."""
    return "o" if len(x) == 1 else "-"


@dataclass(frozen=True)
class Chart:
    """One of several charts in a figure.

    Attributes:
        series: name -> (x, y) of a line; or, where there are labels, the bars' heights.
        labels: one for each group of bars; none for lines.
        title: above it.
        xlabel: below it.
        ylabel: to its left.
        line: height of a horizontal line for reference.
        ticks: names of the positions 0, 1, 2, ... of lines, where these are not numbers.
        log_x: draw x on a logarithmic scale, with 0 at its left end.
        ylim: lower and upper end of y; None for those of the values.
        legend: name the series inside the chart, instead of in the common legend.
    """

    series: Mapping[str, tuple[Array, Array] | Array]
    labels: Sequence[str] = ()
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    line: float | None = None
    ticks: Sequence[str] = ()
    log_x: bool = False
    ylim: tuple[float, float] | None = None
    legend: bool = False


@figure_style()
def chart_grid(
    rows: Sequence[Sequence[Chart]], *, size: Size = (2.9, 2.2), legend_in_grid: bool = False
) -> Figure:
    """Draw charts in rows, with one legend; a name has the same color in every chart.

    Args:
        rows: rows of charts.
        size: width and height of each, text included, in inches.
        legend_in_grid: put the legend after the last chart, whose row is shorter than the others,
            and not below all charts.
    """
    shared = [chart for row in rows for chart in row if not chart.legend]
    colors = _series_colors(name for chart in shared for name in chart.series)
    width, in_line = size[0] * max(map(len, rows)), 1
    if any(colors) and not legend_in_grid:
        in_line = max(1, int((width - 0.5) / (0.5 + CHARACTER * max(map(len, colors)))))
    lines = -(-len(colors) // in_line) if any(colors) and not legend_in_grid else 0
    legend = 0.3 + 0.2 * (lines - 1) if lines else 0.0
    page = Page(width, size[1] * len(rows) + legend)
    turned = any(_is_turned(chart, size[0] - 0.8) for row in rows for chart in row)
    below = 0.7 if turned else 0.48
    for r, row in enumerate(rows):
        for c, chart in enumerate(row):
            corner = size[0] * c + 0.62, legend + size[1] * (len(rows) - 1 - r) + below
            own = _series_colors(chart.series) if chart.legend else colors
            _draw_chart(page.axes(*corner, size[0] - 0.8, size[1] - below - 0.3), chart, own)
    if legend_in_grid:
        page.legend(colors, size[0] * len(rows[-1]) + 0.3, bottom=0.48, columns=1)
    else:
        page.legend(colors if any(colors) else {}, 0.5, columns=min(in_line, len(colors)))
    return page.figure


def _series_colors(series: Iterable[str]) -> dict[str, str]:
    names = list(dict.fromkeys(series))
    if {*names} & {*CATEGORY_ORDER}:
        return category_colors(names)
    return dict(zip(names, cycle(COLORS), strict=False))


def _is_turned(chart: Chart, width: float) -> bool:
    """Return whether the names below a chart are longer than its axis, in inches."""
    return CHARACTER * sum(len(name) + 1 for name in chart.labels or chart.ticks) > width


def _draw_chart(axes: Axes, chart: Chart, colors: Mapping[str, str]) -> None:
    axes.set(title=chart.title, xlabel=chart.xlabel, ylabel=chart.ylabel)
    width = 0.8 / max(len(chart.series), 1)
    for index, (name, values) in enumerate(chart.series.items()):
        if chart.labels:
            x = np.arange(len(chart.labels)) + (index + 0.5) * width - 0.4
            axes.bar(x, to_numpy(values), width=0.92 * width, color=colors[name])
        else:
            axes.plot(*map(to_numpy, values), _marker(values[0]), color=colors[name], lw=1.5)
    if chart.legend:
        keys = [Line2D([], [], color=colors[name], lw=2, label=name) for name in chart.series]
        axes.legend(handles=keys, fontsize=7, ncols=min(len(keys), 3))
    if ticks := chart.labels or chart.ticks:
        axes.set_xticks(range(len(ticks)), ticks)
    inches = float(axes.bbox.width / axes.figure.dpi)
    if _is_turned(chart, inches):
        axes.set_xticks(range(len(ticks)), ticks, rotation=20, ha="right")
    if chart.log_x and chart.series:
        _set_log_axis(axes, np.concatenate([to_numpy(x) for x, _ in chart.series.values()]))
    if chart.ylim:
        axes.set_ylim(chart.ylim)
    bars = [to_numpy(values) for values in chart.series.values() if chart.labels]
    if not chart.series or (bars and not np.any(bars)):
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=MUTED)
    if chart.line is not None:
        axes.axhline(chart.line, color=MUTED, lw=1, ls="--")


def _set_log_axis(axes: Axes, x: np.ndarray) -> None:
    """Draw x on a logarithmic scale, with ticks at 1, 3, 10, 30 and so on, and at 0."""
    first, last = float(x[x > 0].min(initial=x.max())), float(x.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.3)
    powers = 10.0 ** np.arange(np.floor(np.log10(first)), np.log10(last) + 1e-6)
    multiples = np.outer(powers, [1, 3] if len(powers) < 5 else [1]).flatten()
    ticks = [0.0] * bool((x == 0).any()) + [t for t in multiples if first <= t <= last]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


@figure_style()
def stacked_bars(
    labels: Sequence[str],
    parts: Mapping[str, Array],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: Size = (5.6, 3.0),
) -> Figure:
    """Draw a bar of counts per label, stacked by category; labels may have several lines.

    Args:
        labels: one for each bar.
        parts: category -> heights of its parts.
        title: above the chart.
        xlabel: below it.
        ylabel: to its left.
        size: in inches.
    """
    colors = category_colors(list(parts))
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    below = 0.62 + 0.14 * max(lines - 1 - (not xlabel), 0) + 0.18 * bool(xlabel)
    page, axes = _new_chart(size, below, 0.34, title=title, xlabel=xlabel, ylabel=ylabel)
    bottom = np.zeros(len(labels))
    for name, color in colors.items():
        heights = to_numpy(parts[name])
        axes.bar(range(len(labels)), heights, bottom=bottom, color=color, width=0.7)
        bottom = bottom + heights
    for x, total in enumerate(bottom):
        axes.text(x, total, f"{total:g}", ha="center", va="bottom", size=8, color=INK)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylim(0, max(float(bottom.max()), 1) * 1.12)
    use_integer_ticks(axes)
    page.legend(colors, 0.5)
    return page.figure


def use_integer_ticks(axes: Axes) -> None:
    """Put ticks at whole numbers, on a y axis of counts."""
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


@figure_style()
def scatter(
    groups: Mapping[str, tuple[Array, Array]],
    *,
    labels: Sequence[tuple[float, float, str]] = (),
    diagonal: bool = False,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: Size = (5.2, 4.2),
) -> Figure:
    """Draw points.

    Args:
        groups: category -> the points' x and y.
        labels: x, y and a word written beside that point, the most important first; words that
            would overlap an earlier one are left out.
        diagonal: draw the line where y is x, and begin both axes at 0.
        title: above the chart.
        xlabel: below it.
        ylabel: to its left.
        size: in inches.
    """
    colors = category_colors(list(groups))
    below = 0.62 + 0.18 * bool(xlabel)
    page, axes = _new_chart(size, below, 0.34, title=title, xlabel=xlabel, ylabel=ylabel)
    for name, color in colors.items():
        axes.scatter(*map(to_numpy, groups[name]), s=18, color=color, alpha=0.8, linewidths=0)
    if diagonal:
        values = [to_numpy(part) for group in groups.values() for part in group]
        end = max(part.max() for part in values if len(part))
        axes.plot([0, end], [0, end], color=MUTED, lw=1, ls="--")
        axes.set(xlim=(0, None), ylim=(0, None))
    _label_points(axes, labels)
    page.legend(colors, 0.5)
    return page.figure


def _label_points(axes: Axes, labels: Sequence[tuple[float, float, str]]) -> None:
    boxes: list[Bbox] = []
    for x, y, word in labels:
        left, bottom = axes.transData.transform((x, y))
        # Pixels, at the figure's resolution of 100 per inch.
        box = Bbox.from_bounds(left, bottom, 6.2 * len(word), 11)
        if not box.count_overlaps(boxes):
            boxes.append(box)
            axes.annotate(word, (x, y), (3, 3), textcoords="offset points", size=6.5, color=INK)
