"""Charts: lines, bars and histograms, one by one or many in a figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import COLORS, FAINT, INK, Array, blank, house_style, legend_below, numbers


def _chart(title: str, xlabel: str, ylabel: str, width: float, height: float) -> tuple:
    figure = blank(width, height)
    axes = figure.add_axes((0.62 / width, 0.5 / height, 1 - 0.8 / width, 1 - 0.82 / height))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def _legend(axes: Axes, names: Sequence[str]) -> None:
    if any(names):
        axes.legend()


def lines(
    series: Mapping[str, tuple[Array, Array]],
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (5.6, 3.0),
) -> Figure:
    """Draw lines; `series` maps each line's name to its x and y values."""
    with house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        for color, (name, (x, y)) in zip(cycle(COLORS), series.items(), strict=False):
            axes.plot(numbers(x), numbers(y), color=color, label=name, lw=1.6)
        _legend(axes, list(series))
    return figure


def bars(
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
    with house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        heights = numbers(values)
        error = None if spread is None else numbers(spread)
        axes.bar(range(len(heights)), heights, color=COLORS[0], width=0.7, yerr=error, ecolor=INK)
        if len(labels) == len(heights):
            axes.set_xticks(range(len(labels)), labels)
        else:
            axes.set_xticks([])
        if line is not None:
            axes.axhline(line, color=COLORS[1], lw=1, ls="--")
        axes.axhline(0, color=FAINT, lw=0.8)
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
    with house_style():
        figure, axes = _chart(title, xlabel, ylabel, *size)
        values = [numbers(group) for group in groups.values()]
        colors = [color for color, _ in zip(cycle(COLORS), groups, strict=False)]
        axes.hist(values, bins=bins, stacked=True, color=colors, label=list(groups))
        if line is not None:
            axes.axvline(line, color=INK, lw=1, ls="--")
        _legend(axes, list(groups))
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


def charts(rows: Sequence[Sequence[Chart]], *, size: tuple[float, float] = (2.9, 2.2)) -> Figure:
    """Draw charts in rows, with one legend below all: a name has one colour throughout.

    Args:
        rows: rows of charts.
        size: width and height of each, words included, in inches.
    """
    named = dict.fromkeys(name for row in rows for chart in row for name in chart.series)
    colors = dict(zip(named, cycle(COLORS), strict=False))
    below = 0.3 if any(named) else 0.0
    width, height = size[0] * max(map(len, rows)), size[1] * len(rows) + below
    with house_style():
        figure = blank(width, height)
        for r, row in enumerate(rows):
            bottom = below + size[1] * (len(rows) - 1 - r)
            for c, chart in enumerate(row):
                corner = (size[0] * c + 0.62) / width, (bottom + 0.48) / height
                room = (size[0] - 0.8) / width, (size[1] - 0.78) / height
                _fill(figure.add_axes((*corner, *room)), chart, colors)
        legend_below(figure, colors if any(named) else {}, 0.5)
    return figure


def _fill(axes: Axes, chart: Chart, colors: Mapping[str, str]) -> None:
    axes.set(title=chart.title, xlabel=chart.xlabel, ylabel=chart.ylabel)
    each = 0.8 / max(len(chart.series), 1)
    for number, (name, values) in enumerate(chart.series.items()):
        if chart.labels:
            place = np.arange(len(chart.labels)) + (number + 0.5) * each - 0.4
            axes.bar(place, numbers(values), width=0.92 * each, color=colors[name])
        else:
            x, y = values
            axes.plot(numbers(x), numbers(y), color=colors[name], lw=1.5)
    if chart.labels or chart.ticks:
        words = chart.labels or chart.ticks
        axes.set_xticks(range(len(words)), words)
    if chart.labels and not any(numbers(values).any() for values in chart.series.values()):
        axes.set_ylim(0, 1)
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=FAINT)
    if chart.line is not None:
        axes.axhline(chart.line, color=FAINT, lw=1, ls="--")
