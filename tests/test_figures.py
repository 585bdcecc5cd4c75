"""Figures show what they were given, and are the same to the byte wherever they are drawn."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from PIL import Image

from cnnvis_lab.lab import figures

COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]) / 255


def _plain(color: torch.Tensor) -> torch.Tensor:
    return color.view(3, 1, 1).expand(3, 4, 4)


def _grid() -> Figure:
    rows = [[_plain(COLORS[0]), None, np.eye(3)], [_plain(COLORS[1])]]
    labels = {"row_labels": ["CL1", "features.10"], "column_labels": ["image", "", "map"]}
    notes = [["0.5", "", "$x^2$"]]
    labels["title"] = "A title that is wider than the three pictures under it"
    return figures.picture_grid(rows, notes=notes, cell=0.8, **labels)


MAKERS = {
    "grid": _grid,
    "sheet": lambda: figures.contact_sheet(torch.rand(5, 3, 4, 4), columns=3, title="Five"),
    "lines": lambda: figures.lines({"a": ([0, 1], [1, 2]), "b": ([0, 1], torch.ones(2))}),
    "bars": lambda: figures.bars(["x", "y"], [1, 2], spread=[0.1, 0.2], line=1.5, title="Bars"),
    "histogram": lambda: figures.histogram({"a": torch.rand(50), "b": np.ones(9)}, line=0.5),
}


def _png(maker: str) -> bytes:
    torch.manual_seed(0)
    return figures.to_png(MAKERS[maker]())


def _pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.to_png(figure))).convert("RGB"))


def _chunks(png: bytes) -> list[bytes]:
    """Kinds of a PNG's chunks, by the format's own layout: length, kind, content, checksum."""
    place, kinds = 8, []
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        kinds.append(kind)
        place += 12 + length
    return kinds


@pytest.mark.parametrize("maker", MAKERS)
def test_the_same_figure_gives_the_same_bytes_and_no_word_on_time_place_or_software(maker):
    png = _png(maker)
    assert png == _png(maker)
    assert set(_chunks(png)) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert np.asarray(Image.open(io.BytesIO(png))).std() > 0


@pytest.mark.parametrize("maker", MAKERS)
def test_a_users_own_settings_change_no_figure_and_survive_it(maker):
    png = _png(maker)
    own = {
        "font.size": 21,
        "savefig.bbox": "tight",
        "axes.facecolor": "pink",
        "figure.dpi": 50,
        "lines.linestyle": ":",
        "legend.frameon": True,
        "path.simplify": False,
    }
    with matplotlib.rc_context(own):
        before = dict(matplotlib.rcParams)
        assert _png(maker) == png
        assert dict(matplotlib.rcParams) == before


def test_threads_drawing_at_once_draw_the_same_and_leave_no_setting_behind():
    def draw(number: int) -> bytes:
        return figures.to_png([_grid, MAKERS["lines"]][number % 2]())

    before, alone = dict(matplotlib.rcParams), [draw(0), draw(1)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(draw, range(18)))
    assert set(together[::2]) == {alone[0]} and set(together[1::2]) == {alone[1]}
    assert dict(matplotlib.rcParams) == before


def test_pictures_lie_in_their_rows_and_columns_with_their_own_colours():
    rows = [[_plain(COLORS[0]), _plain(COLORS[1])], [None, _plain(COLORS[2])]]
    pixels = _pixels(figures.picture_grid(rows, cell=0.5))
    centres = []
    for color in COLORS[:3]:
        here = np.argwhere((pixels == (color.numpy() * 255)).all(2))
        side = 0.5 * figures.DPI
        assert abs(len(here) - side**2) <= 4 * side  # a border may blend
        centres.append(here.mean(0))
    (red, green, blue) = centres
    assert red[0] == pytest.approx(green[0], abs=2) and green[1] == pytest.approx(blue[1], abs=2)
    assert red[1] + side < green[1] and green[0] + side < blue[0]
    assert not ((pixels == (COLORS[3].numpy() * 255)).all(2)).any()


def test_values_beyond_the_range_are_clipped_and_maps_are_gray():
    wild = _plain(torch.tensor([7.0, -3.0, 0.5]))
    pixels = _pixels(figures.picture_grid([[wild, torch.full((4, 4), 0.2)]]))
    height, width = pixels.shape[:2]
    assert pixels[height // 2, width // 4].tolist() == [255, 0, 127]
    assert pixels[height // 2, 3 * width // 4].tolist() == [51, 51, 51]


def test_no_picture_overlaps_another_and_no_word_is_cut_off():
    figure = _grid()
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 3
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    texts = [text for text in figure.texts if text.get_text()]
    assert len(texts) == 7
    for text in texts:
        words = text.get_window_extent(renderer)
        assert page.x0 <= words.x0 and words.x1 <= page.x1, text.get_text()
        assert page.y0 <= words.y0 and words.y1 <= page.y1, text.get_text()
        assert not any(words.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_a_contact_sheet_shows_every_picture_in_order():
    images = torch.linspace(0.1, 0.9, 7).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    figure = figures.contact_sheet(images, columns=3)
    shown = [float(axes.images[0].get_array().mean()) for axes in figure.axes]
    assert shown == pytest.approx(images[:, 0, 0, 0].tolist())
    tops = [round(axes.get_position().y1, 6) for axes in figure.axes]
    assert [tops.count(top) for top in sorted(set(tops), reverse=True)] == [3, 3, 1]


def test_kernels_keep_their_sign_around_gray_and_fill_their_range():
    weights = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    weights[3], weights[4] = 0, weights[4] / 100
    shown = figures.kernels(weights)
    assert (np.sign(shown - 0.5) == np.sign(weights.numpy())).all()
    filled = np.abs(shown - 0.5).max(axis=(1, 2, 3))
    assert filled == pytest.approx([0.5, 0.5, 0.5, 0, 0.5])
    shared = figures.kernels(weights, shared=True)
    expected = 0.5 * weights.numpy() / weights.abs().max().item()
    assert shared - 0.5 == pytest.approx(expected, abs=1e-7)


def test_lines_are_the_numbers_given_and_more_than_there_are_colours():
    count = len(figures.COLORS) + 2
    x = torch.linspace(0, 1, 4, requires_grad=True)
    figure = figures.lines({f"line {n}": (x, n * x) for n in range(count)}, xlabel="steps")
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == [f"line {n}" for n in range(count)]
    for number, line in enumerate(axes.lines):
        assert np.array_equal(line.get_ydata(), number * x.detach().numpy())
    assert len(axes.get_legend().get_texts()) == count and axes.get_xlabel() == "steps"


def test_bars_reach_their_values_and_show_their_spread():
    values, spread = torch.tensor([1.0, 3.0]), [0.5, 0.25]
    axes = figures.bars(["a", "b"], values, spread=spread, line=2).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 3]
    (drawn,) = [made for made in axes.containers if isinstance(made, BarContainer)]
    ends = [segment[:, 1].tolist() for segment in drawn.errorbar.lines[2][0].get_segments()]
    assert ends == [[0.5, 1.5], [2.75, 3.25]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_histograms_count_every_value_of_every_group():
    groups = {f"g{n}": torch.rand(10 + n) for n in range(len(figures.COLORS) + 1)}
    axes = figures.histogram(groups, bins=5).axes[0]
    counted = [sum(bar.get_height() for bar in stack) for stack in axes.containers]
    assert counted == pytest.approx([10 + n for n in range(len(groups))])
