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

from cnnvis_lab.data.images import tile
from cnnvis_lab.lab import figures

COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]) / 255


def _plain(color: torch.Tensor) -> torch.Tensor:
    return color.view(3, 1, 1).expand(3, 4, 4)


def _grid() -> Figure:
    rows = [[_plain(COLORS[0]), None, np.eye(3)], [_plain(COLORS[1])]]
    labels = {"row_labels": ["CL1", "features.10"], "column_labels": ["image", "", "map"]}
    notes = [["0.5", "", "$x^2$"]]
    labels["title"] = "A title that is wider than the three pictures under it"
    return figures.image_grid(rows, notes=notes, cell=0.8, **labels)


def _charts() -> Figure:
    lines = figures.Chart({"a": ([0, 1], [1, 2]), "b": ([0, 1], [2, 0])}, xlabel="step", line=1.5)
    pair = figures.Chart({"b": [1, 2], "c": torch.tensor([3, 1])}, ["x", "y"], "Bars")
    none = figures.Chart({"b": [0, 0], "c": [0.0, 0.0]}, ["x", "y"], "No bars")
    return figures.chart_grid([[lines, pair], [none]])


def test_bars_that_are_all_zero_stand_on_an_axis_from_zero_and_say_so():
    lines, bars, none = _charts().axes[:3]
    assert none.get_ylim() == (0, 1) and [text.get_text() for text in none.texts] == ["none"]
    assert not bars.texts and not lines.texts


def _schematic() -> Figure:
    maps = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0))
    picture = _plain(COLORS[0])
    return figures.deconvnet.projection_trace(
        [picture, maps[0], maps[1]], [picture - 0.5, maps[2], torch.zeros(5, 5)],
        names=["picture", "conv1\n5 maps", "pool1"], steps=["filter\n5x5, stride 4", "max-pool"],
        back_steps=["filter,\ntransposed", "unpool"], switches=[1], turn="one activation",
    )  # fmt: skip


def _framed() -> Figure:
    rows = [[_plain(COLORS[0]), np.zeros((8, 8))]]
    boxes = [[{"dead": [(0, 0, 2, 2)]}, {"aliased": [(2, 4, 5, 8)], "dead": [(5, 0, 8, 3)]}]]
    return figures.image_grid(rows, boxes=boxes, notes=[["one", "two\nlines"]])


MAKERS = {
    "grid": _grid,
    "framed": _framed,
    "charts": _charts,
    "schematic": _schematic,
    "sheet": lambda: figures.contact_sheet(torch.rand(5, 3, 4, 4), columns=3, title="Five"),
    "lines": lambda: figures.line_chart({"a": ([0, 1], [1, 2]), "b": ([0, 1], torch.ones(2))}),
    "bars": lambda: figures.bar_chart(
        ["x", "y"], [1, 2], spread=[0.1, 0.2], line=1.5, title="Bars"
    ),
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
    pixels = _pixels(figures.image_grid(rows, cell=0.5))
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
    pixels = _pixels(figures.image_grid([[wild, torch.full((4, 4), 0.2)]]))
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


def test_boxes_frame_their_pixels_in_the_colour_that_the_legend_gives_their_kind():
    figure = _framed()
    (legend,) = figure.legends
    named = dict(zip([t.get_text() for t in legend.get_texts()], legend.get_lines(), strict=True))
    assert list(named) == ["dead", "aliased"]
    colors = {kind: line.get_color() for kind, line in named.items()}
    assert colors["dead"] != colors["aliased"]
    first, second = (axes.patches for axes in figure.axes)
    assert [frame.get_bbox().extents.tolist() for frame in first] == [[-0.5, -0.5, 1.5, 1.5]]
    kinds = [("aliased", [3.5, 1.5, 7.5, 4.5]), ("dead", [-0.5, 4.5, 2.5, 7.5])]
    for frame, (kind, extents) in zip(second, kinds, strict=True):
        assert frame.get_bbox().extents.tolist() == extents
        assert frame.get_edgecolor() == matplotlib.colors.to_rgba(colors[kind])
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    words = legend.get_window_extent(renderer)
    assert page.y0 <= words.y0 and words.x1 <= page.x1
    notes = [text.get_window_extent(renderer) for text in figure.texts]
    assert not any(words.overlaps(note) for note in notes)


@pytest.mark.parametrize(("height", "width", "times"), [(40, 33, 1), (5, 4, 6), (16, 9, 2)])
def test_a_sheet_is_a_square_of_pictures_and_boxes_lie_on_them(height, width, times):
    pictures = torch.rand(7, 3, height, width)
    large = pictures.repeat_interleave(times, 2).repeat_interleave(times, 3)
    sheet = figures.mosaic(pictures.numpy())
    assert torch.equal(sheet, tile(large, 3, 1))
    boxes = figures.mosaic_boxes({"a": [0, 4, 6], "none": []}, pictures)
    assert boxes["none"] == [] and list(boxes) == ["a", "none"]
    for number, (y0, x0, y1, x1) in zip([0, 4, 6], boxes["a"], strict=True):
        assert torch.equal(sheet[:, y0:y1, x0:x1], large[number])
    assert torch.equal(figures.mosaic(pictures[:1]), large[0])


def test_heat_is_brightest_where_most_and_lets_the_picture_through():
    picture = torch.rand(3, 6, 6)
    values = torch.linspace(-3, 9, 36).view(6, 6)
    shown = figures.overlay_heatmap(picture, values)
    assert shown.shape == (3, 6, 6) and shown.min() >= 0 and shown.max() <= 1
    flat = figures.overlay_heatmap(torch.full((3, 6, 6), 0.5), values)
    gray = flat.mean(0).ravel()
    assert (np.diff(gray) > -0.005).all() and gray[-1] > gray[0] + 0.2
    brighter = figures.overlay_heatmap((picture * 0.5 + 0.5).numpy(), values)
    assert (brighter >= shown - 1e-6).all() and (brighter > shown + 0.01).any()
    assert np.isfinite(figures.overlay_heatmap(picture, torch.zeros(6, 6))).all()


def test_clipping_shows_the_pale_and_keeps_what_is_nearly_empty_in_scale():
    weights = 0.01 * torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    weights[:, 0, 0, 0] = 1.0
    pale, clear = (
        figures.normalize_kernels(weights),
        figures.normalize_kernels(weights, clipped=0.01),
    )
    assert np.abs(pale - 0.5)[:, 1].max() < 0.03 < 0.05 < np.abs(clear - 0.5)[:, 1].max()
    assert clear.max() == 1 and (np.sign(clear - 0.5) == np.sign(weights.numpy())).all()
    lone = torch.zeros(1, 3, 20, 20)
    lone[0, 0, 3, 3], lone[0, 1, 4, 4] = 1.0, -0.1
    shown = figures.normalize_kernels(lone, clipped=0.01)
    assert shown[0, 1, 4, 4] == pytest.approx(0.25) and shown[0, 0, 3, 3] == 1


def test_a_picture_larger_than_its_place_is_not_thinned_out():
    stripes = np.zeros((288, 288))
    stripes[:, ::2] = 1
    figure = figures.image_grid([[stripes]], cell=1.0)
    box = figure.axes[0].get_window_extent()
    pixels = _pixels(figure)[:, :, 0]
    height = pixels.shape[0]
    inside = pixels[height - int(box.y1) + 3 : height - int(box.y0) - 3,
                    int(box.x0) + 3 : int(box.x1) - 3]  # fmt: skip
    assert abs(inside.mean() - 127.5) < 6 and inside.std() < 40


def test_charts_share_one_legend_in_which_a_name_has_one_colour():
    figure = _charts()
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
    places = [bar.get_x() + bar.get_width() / 2 for bar in pair.patches]
    assert np.allclose([(places[0] + places[2]) / 2, (places[1] + places[3]) / 2], [0, 1])
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes.append(legend.get_window_extent(renderer))
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_the_way_there_and_back_shows_every_map_at_its_place_with_its_sign():
    figure = _schematic()
    page, *maps = figure.axes
    assert len(maps) == 6
    places = [axes.get_position() for axes in maps]
    for back, forward in zip(places[::2], places[1::2], strict=True):
        assert back.y0 == pytest.approx(forward.y0) and back.x1 < forward.x0
    assert places[0].y1 < places[2].y0 < places[4].y0
    for axes in (maps[2], maps[3]):
        image = axes.images[0]
        assert image.norm.vmin == -image.norm.vmax == -np.abs(image.get_array()).max()
    words = [text.get_text() for text in page.texts if text.get_text()]
    assert {"filter\n5x5, stride 4", "unpool", "one activation", "pool1", "back", "forward"} <= {
        *words
    }
    assert words.count("switches") == 1
    renderer = figure.canvas.get_renderer()
    for text in page.texts:
        box = text.get_window_extent(renderer)
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        if text.get_text():
            assert not any(box.overlaps(axes.get_window_extent()) for axes in maps), text


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
    shown = figures.normalize_kernels(weights)
    assert (np.sign(shown - 0.5) == np.sign(weights.numpy())).all()
    filled = np.abs(shown - 0.5).max(axis=(1, 2, 3))
    assert filled == pytest.approx([0.5, 0.5, 0.5, 0, 0.5])
    shared = figures.normalize_kernels(weights, shared=True)
    expected = 0.5 * weights.numpy() / weights.abs().max().item()
    assert shared - 0.5 == pytest.approx(expected, abs=1e-7)


def test_lines_are_the_numbers_given_and_more_than_there_are_colours():
    count = len(figures.COLORS) + 2
    x = torch.linspace(0, 1, 4, requires_grad=True)
    figure = figures.line_chart({f"line {n}": (x, n * x) for n in range(count)}, xlabel="steps")
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == [f"line {n}" for n in range(count)]
    for number, line in enumerate(axes.lines):
        assert np.array_equal(line.get_ydata(), number * x.detach().numpy())
    assert len(axes.get_legend().get_texts()) == count and axes.get_xlabel() == "steps"


def test_bars_reach_their_values_and_show_their_spread():
    values, spread = torch.tensor([1.0, 3.0]), [0.5, 0.25]
    axes = figures.bar_chart(["a", "b"], values, spread=spread, line=2).axes[0]
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
