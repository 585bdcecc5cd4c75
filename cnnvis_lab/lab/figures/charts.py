"""Charts: lines, bars and histograms, one by one or many in a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import (
    COLORS,
    INK,
    MUTED,
    Array,
    add_legend_below,
    category_colors,
    figure_style,
    new_figure,
    to_numpy,
)


def _new_chart(title: str, xlabel: str, ylabel: str, width: float, height: float) -> tuple:
    figure = new_figure(width, height)
    axes = figure.add_axes((0.62 / width, 0.5 / height, 1 - 0.8 / width, 1 - 0.82 / height))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _add_legend(axes: Axes, names: Sequence[str]) -> None:
    if any(names):
        axes.legend()


def line_chart(
    series: Mapping[str, tuple[Array, Array]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw lines; `series` maps each line's name to its x and y values."""
    with figure_style():
        figure, axes = _new_chart(title, xlabel, ylabel, *size)
        for color, (name, (x, y)) in zip(cycle(COLORS), series.items(), strict=False):
            axes.plot(to_numpy(x), to_numpy(y), color=color, label=name, lw=1.6)
        _add_legend(axes, list(series))
    return figure


def bar_chart(
    labels: Sequence[str],
    values: Array,
    *,
    spread: Array | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    line: float | None = None,
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw one bar a label, with its spread where given, and a line across for reference."""
    with figure_style():
        figure, axes = _new_chart(title, xlabel, ylabel, *size)
        heights = to_numpy(values)
        error = None if spread is None else to_numpy(spread)
        axes.bar(range(len(heights)), heights, color=COLORS[0], width=0.7, yerr=error, ecolor=INK)
        if len(labels) == len(heights):
            axes.set_xticks(range(len(labels)), labels)
        else:
            axes.set_xticks([])
        if line is not None:
            axes.axhline(line, color=COLORS[1], lw=1, ls="--")
        axes.axhline(0, color=MUTED, lw=0.8)
    return figure


def histogram(
    groups: Mapping[str, Array],
    *,
    bins: int = 24,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "count",
    line: float | None = None,
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw histograms of groups over common bins, stacked."""
    with figure_style():
        figure, axes = _new_chart(title, xlabel, ylabel, *size)
        values = [to_numpy(group) for group in groups.values()]
        colors = [color for color, _ in zip(cycle(COLORS), groups, strict=False)]
        axes.hist(values, bins=bins, stacked=True, color=colors, label=list(groups))
        if line is not None:
            axes.axvline(line, color=INK, lw=1, ls="--")
        _add_legend(axes, list(groups))
    return figure


@dataclass(frozen=True)
class Chart:
    """One of several charts in a figure.

    Attributes:
        series: name -> (x, y) of a line; or, where there are labels, the bars' heights.
        labels: one for each group of bars; none for lines.
        title: above it.
        xlabel: below it.
        ylabel: to its left.
        line: height of a line across for reference.
        ticks: names of the places 0, 1, 2, ... of lines, where these are no numbers.
    """

    series: Mapping[str, tuple[Array, Array] | Array]
    labels: Sequence[str] = ()
    title: str = ""
    xlabel: str = ""
    ylabel: str = ""
    line: float | None = None
    ticks: Sequence[str] = ()


def chart_grid(
    rows: Sequence[Sequence[Chart]], *, size: tuple[float, float] = (2.9, 2.2)
) -> Figure:
    """Draw charts in rows, with one legend below all: a name has one colour throughout.

    Args:
        rows: rows of charts.
        size: width and height of each, words included, in inches.
    """
    named = dict.fromkeys(name for row in rows for chart in row for name in chart.series)
    colors = dict(zip(named, cycle(COLORS), strict=False))
    below = 0.3 if any(named) else 0.0
    width, height = size[0] * max(map(len, rows)), size[1] * len(rows) + below
    with figure_style():
        figure = new_figure(width, height)
        for r, row in enumerate(rows):
            bottom = below + size[1] * (len(rows) - 1 - r)
            for c, chart in enumerate(row):
                corner = (size[0] * c + 0.62) / width, (bottom + 0.48) / height
                room = (size[0] - 0.8) / width, (size[1] - 0.78) / height
                _draw_chart(figure.add_axes((*corner, *room)), chart, colors)
        add_legend_below(figure, colors if any(named) else {}, 0.5)
    return figure


def _draw_chart(axes: Axes, chart: Chart, colors: Mapping[str, str]) -> None:
    axes.set(title=chart.title, xlabel=chart.xlabel, ylabel=chart.ylabel)
    each = 0.8 / max(len(chart.series), 1)
    for number, (name, values) in enumerate(chart.series.items()):
        if chart.labels:
            place = np.arange(len(chart.labels)) + (number + 0.5) * each - 0.4
            axes.bar(place, to_numpy(values), width=0.92 * each, color=colors[name])
        else:
            x, y = values
            axes.plot(to_numpy(x), to_numpy(y), color=colors[name], lw=1.5)
    if chart.labels or chart.ticks:
        words = chart.labels or chart.ticks
        axes.set_xticks(range(len(words)), words)
    if chart.labels and not any(to_numpy(values).any() for values in chart.series.values()):
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=MUTED)
    if chart.line is not None:
        axes.axhline(chart.line, color=MUTED, lw=1, ls="--")


def stacked_bars(
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
    with figure_style():
        figure, axes = _chart_above_legend(size, title, "", ylabel, room=0.14 * max(lines - 2, 0))
        under = np.zeros(len(labels))
        for name, color in colors.items():
            heights = to_numpy(parts[name])
            axes.bar(range(len(labels)), heights, bottom=under, color=color, width=0.7)
            under = under + heights
        for place, total in enumerate(under):
            axes.text(place, total, f"{total:g}", ha="center", va="bottom", size=8, color=INK)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(0, max(float(under.max()), 1) * 1.12)
        add_legend_below(figure, colors, 0.5)
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
    with figure_style():
        figure, axes = _chart_above_legend(size, title, xlabel, ylabel)
        for name, color in colors.items():
            x, y = (to_numpy(part) for part in groups[name])
            axes.scatter(x, y, s=18, color=color, alpha=0.8, linewidths=0)
        if diagonal:
            ends = [
                to_numpy(part).max() for group in groups.values() for part in group if len(part)
            ]
            axes.plot([0, max(ends)], [0, max(ends)], color=MUTED, lw=1, ls="--")
            axes.set(xlim=(0, None), ylim=(0, None))
        _label_points(axes, named)
        add_legend_below(figure, colors, 0.5)
    return figure


def _label_points(axes: Axes, named: Sequence[tuple[float, float, str]]) -> None:
    taken: list[tuple[float, float, float, float]] = []
    for x, y, word in named:
        left, low = axes.transData.transform((x, y))
        right, high = left + 6.2 * len(word), low + 11  # pixels, at the figure's own 100 an inch
        if all(right < a or c < left or high < b or d < low for a, b, c, d in taken):
            taken.append((left, low, right, high))
            axes.annotate(word, (x, y), (3, 3), textcoords="offset points", size=6.5, color=INK)


def _chart_above_legend(
    size: tuple[float, float], title: str, xlabel: str, ylabel: str, room: float = 0.0
) -> tuple[Figure, Axes]:
    """Axes with room for a legend below, and some more."""
    (width, height), below = size, 0.62 + 0.18 * bool(xlabel) + room
    figure = new_figure(width, height)
    axes = figure.add_axes(
        (0.62 / width, below / height, 1 - 0.8 / width, 1 - (below + 0.34) / height)
    )
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes
