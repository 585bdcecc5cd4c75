"""Charts show the given numbers."""

from itertools import pairwise

import matplotlib
import numpy as np
import pytest
import torch
from support.small_figures import charts

from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures import style
from cnnvis_lab.lab.figures.charts import Chart, chart_grid


def test_bars_that_are_all_zero_have_an_axis_from_zero_and_the_label_none():
    lines, bars, none = charts().axes[:3]
    assert none.get_ylim() == (0, 1) and [text.get_text() for text in none.texts] == ["none"]
    assert not bars.texts and not lines.texts


def test_charts_have_one_legend_in_which_each_name_has_one_color():
    figure = charts()
    lines, pair, _ = figure.axes
    (legend,) = figure.legends
    colors = {t.get_text(): line.get_color()
              for t, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}  # fmt: skip
    assert list(colors) == ["a", "b", "c"] and len(set(colors.values())) == 3
    assert [line.get_color() for line in lines.lines[:2]] == [colors["a"], colors["b"]]
    assert lines.lines[1].get_ydata().tolist() == [2, 0]
    heights = [[bar.get_height() for bar in group] for group in pair.containers]
    assert heights == [[1, 2], [3, 1]]
    assert pair.patches[0].get_facecolor() == matplotlib.colors.to_rgba(colors["b"])
    assert [label.get_text() for label in pair.get_xticklabels()] == ["x", "y"]
    centers = [bar.get_x() + bar.get_width() / 2 for bar in pair.patches]
    assert np.allclose([(centers[0] + centers[2]) / 2, (centers[1] + centers[3]) / 2], [0, 1])
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes.append(legend.get_window_extent(renderer))
    for index, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_a_logarithmic_axis_has_real_numbers_and_shows_zero():
    steps = torch.tensor([0, 6, 13, 65, 416])
    log = {"log_x": True, "ylim": (0, 1)}
    rows = [[figures.Chart({"object": (steps, steps / 416), "color": (steps, steps)}, **log)]]
    (axes,) = figures.chart_grid(rows).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0", "10", "30", "100", "300"] and axes.get_ylim() == (0, 1)
    assert axes.get_xticks().tolist() == [float(label) for label in labels]
    assert axes.lines[0].get_xdata().tolist() == steps.tolist()
    places = axes.transData.transform([(step, 0) for step in steps.tolist()])[:, 0]
    assert (np.diff(places) > 5).all()
    colors = style.category_colors(["object", "color"])
    assert [line.get_color() for line in axes.lines] == [colors["object"], colors["color"]]


@pytest.mark.parametrize("kind", ["ticks", "labels"])
def test_long_names_of_positions_are_turned_and_others_have_space(kind):
    for names in (["CL1", "CL2", "CL3"], [f"features.{n}" for n in range(6)]):
        line = (range(len(names)), range(1, len(names) + 1))
        chart = figures.Chart({"a": line if kind == "ticks" else line[1]}, **{kind: names})
        figure = figures.chart_grid([[chart] * 2])
        figure.canvas.draw()
        labels = figure.axes[0].get_xticklabels()
        extents = [label.get_window_extent() for label in labels]
        assert [label.get_text() for label in labels] == names
        assert (labels[0].get_rotation() > 0) == any(a.overlaps(b) for a, b in pairwise(extents))
        assert figure.axes[0].xaxis.label.get_window_extent().y1 < min(one.y1 for one in extents)


def test_a_chart_without_series_says_so():
    (axes,) = figures.chart_grid([[figures.Chart({}, log_x=True)]]).axes
    assert [text.get_text() for text in axes.texts] == ["none"]


def test_a_chart_may_have_a_legend_of_its_own():
    line = ([0, 1], [2, 3])
    inside = figures.Chart({"a": line, "b": line}, legend=True)
    figure = figures.chart_grid([[figures.Chart({"c": line}), inside]])
    (shared,) = figure.legends
    assert [text.get_text() for text in shared.get_texts()] == ["c"]
    own = figure.axes[1].get_legend()
    assert [text.get_text() for text in own.get_texts()] == ["a", "b"]
    colors = [line.get_color() for line in figure.axes[1].lines]
    assert [key.get_color() for key in own.get_lines()] == colors


def test_lines_have_the_given_values_even_if_there_are_more_lines_than_colors():
    count = len(style.COLORS) + 2
    x = torch.linspace(0, 1, 4, requires_grad=True)
    figure = figures.line_chart({f"line {n}": (x, n * x) for n in range(count)}, xlabel="steps")
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == [f"line {n}" for n in range(count)]
    for index, line in enumerate(axes.lines):
        assert np.array_equal(line.get_ydata(), index * x.detach().numpy())
    assert len(axes.get_legend().get_texts()) == count and axes.get_xlabel() == "steps"


def test_a_line_of_one_point_is_seen():
    lines = {"one": ([2], [3]), "two": ([1, 2], [3, 4])}
    for figure in (figures.line_chart(lines), chart_grid([[Chart(lines)]])):
        markers = [line.get_marker() for line in figure.axes[0].lines]
        assert markers[0] == "o" and markers[1] == "None"


def test_every_point_of_every_group_is_drawn():
    figure = figures.scatter({"color": ([0.1, 0.2], [0.3, 0.1]), "part": ([], [])}, diagonal=True)
    assert sum(len(points.get_offsets()) for points in figure.axes[0].collections) == 2


def test_a_legend_of_many_long_names_lies_inside_the_figure():
    names = [f"features.{n}.conv" for n in range(9)]
    figure = figures.chart_grid([[figures.Chart({name: ([0, 1], [0, 1]) for name in names})] * 2])
    figure.canvas.draw()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert [text.get_text() for text in legend.get_texts()] == names
    assert box.x1 < whole.x1 and box.y0 >= whole.y0
    assert box.y1 < figure.axes[0].xaxis.get_tightbbox().y0
