"""Grids show the given images in their positions."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from support.small_figures import COLORS, framed_grid, image_grid, plain

from cnnvis_lab.data.images import tile
from cnnvis_lab.lab import figures
from cnnvis_lab.lab.figures import style


def _pixels(figure: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figures.to_png(figure))).convert("RGB"))


def test_images_are_in_their_rows_and_columns_with_unchanged_colors():
    rows = [
        [
            plain(COLORS[0]),
            plain(COLORS[1]),
        ],
        [None, plain(COLORS[2])],
    ]
    pixels = _pixels(figures.image_grid(rows, cell=0.5))
    centers = []
    for color in COLORS[:3]:
        positions = np.argwhere((pixels == (color.numpy() * 255)).all(2))
        size = 0.5 * style.DPI
        assert abs(len(positions) - size**2) <= 4 * size  # a border may blend
        centers.append(positions.mean(0))
    (red, green, blue) = centers
    assert red[0] == pytest.approx(green[0], abs=2) and green[1] == pytest.approx(blue[1], abs=2)
    assert red[1] + size < green[1] and green[0] + size < blue[0]
    assert not ((pixels == (COLORS[3].numpy() * 255)).all(2)).any()


def test_values_beyond_the_range_are_clipped_and_maps_are_gray():
    out_of_range = plain(torch.tensor([7.0, -3.0, 0.5]))
    pixels = _pixels(figures.image_grid([[out_of_range, torch.full((4, 4), 0.2)]]))
    height, width = pixels.shape[:2]
    assert pixels[height // 2, width // 4].tolist() == [255, 0, 127]
    assert pixels[height // 2, 3 * width // 4].tolist() == [51, 51, 51]


def test_no_image_overlaps_another_and_no_label_is_cut_off():
    figure = image_grid()
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 3
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:index])
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    texts = [text for text in figure.texts if text.get_text()]
    assert len(texts) == 7
    for text in texts:
        label = text.get_window_extent(renderer)
        assert page.x0 <= label.x0 and label.x1 <= page.x1, text.get_text()
        assert page.y0 <= label.y0 and label.y1 <= page.y1, text.get_text()
        assert not any(label.overlaps(axes.get_window_extent()) for axes in figure.axes)


def test_boxes_frame_their_pixels_in_the_color_that_the_legend_gives_their_kind():
    figure = framed_grid()
    (legend,) = figure.legends
    lines = dict(zip([t.get_text() for t in legend.get_texts()], legend.get_lines(), strict=True))
    assert list(lines) == ["dead", "aliased"]
    box = legend.get_window_extent(figure.canvas.get_renderer())
    assert box.x1 <= figure.bbox.x1
    colors = {kind: line.get_color() for kind, line in lines.items()}
    assert colors["dead"] != colors["aliased"]
    first, second = (axes.patches for axes in figure.axes)
    assert [frame.get_bbox().extents.tolist() for frame in first] == [[-0.5, -0.5, 1.5, 1.5]]
    kinds = [("aliased", [3.5, 1.5, 7.5, 4.5]), ("dead", [-0.5, 4.5, 2.5, 7.5])]
    for frame, (kind, extents) in zip(second, kinds, strict=True):
        assert frame.get_bbox().extents.tolist() == extents
        assert frame.get_edgecolor() == matplotlib.colors.to_rgba(colors[kind])
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    legend_box = legend.get_window_extent(renderer)
    assert page.y0 <= legend_box.y0 and legend_box.x1 <= page.x1
    labels = [text.get_window_extent(renderer) for text in figure.texts]
    assert not any(legend_box.overlaps(label) for label in labels)


@pytest.mark.parametrize(("height", "width", "times"), [(40, 33, 1), (5, 4, 6), (16, 9, 2)])
def test_a_mosaic_is_a_square_of_images_and_its_boxes_frame_them(height, width, times):
    images = torch.rand(7, 3, height, width)
    large = images.repeat_interleave(times, 2).repeat_interleave(times, 3)
    sheet = figures.mosaic(images.numpy())
    assert torch.equal(sheet, tile(large, 3, 1))
    boxes = figures.mosaic_boxes({"a": [0, 4, 6], "none": []}, images)
    assert boxes["none"] == [] and list(boxes) == ["a", "none"]
    for index, (y0, x0, y1, x1) in zip([0, 4, 6], boxes["a"], strict=True):
        assert torch.equal(sheet[:, y0:y1, x0:x1], large[index])
    assert torch.equal(figures.mosaic(images[:1]), large[0])


def test_a_heatmap_is_brightest_at_the_maximum_and_transparent():
    image = torch.rand(3, 6, 6)
    values = torch.linspace(-3, 9, 36).view(6, 6)
    overlaid = figures.overlay_heatmap(image, values)
    assert overlaid.shape == (3, 6, 6) and overlaid.min() >= 0 and overlaid.max() <= 1
    flat = figures.overlay_heatmap(torch.full((3, 6, 6), 0.5), values)
    gray = flat.mean(0).ravel()
    assert (np.diff(gray) > -0.005).all() and gray[-1] > gray[0] + 0.2
    brighter = figures.overlay_heatmap((image * 0.5 + 0.5).numpy(), values)
    assert (brighter >= overlaid - 1e-6).all() and (brighter > overlaid + 0.01).any()
    assert np.isfinite(figures.overlay_heatmap(image, torch.zeros(6, 6))).all()


def test_clipping_brightens_small_weights_and_keeps_nearly_empty_images_in_scale():
    weights = 0.01 * torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    weights[:, 0, 0, 0] = 1.0
    unclipped, clipped = (
        figures.normalize_kernels(weights),
        figures.normalize_kernels(weights, clip_fraction=0.01),
    )
    assert np.abs(unclipped - 0.5)[:, 1].max() < 0.03 < 0.05 < np.abs(clipped - 0.5)[:, 1].max()
    assert clipped.max() == 1 and (np.sign(clipped - 0.5) == np.sign(weights.numpy())).all()
    sparse = torch.zeros(1, 3, 20, 20)
    sparse[0, 0, 3, 3], sparse[0, 1, 4, 4] = 1.0, -0.1
    normalized = figures.normalize_kernels(sparse, clip_fraction=0.01)
    assert normalized[0, 1, 4, 4] == pytest.approx(0.25) and normalized[0, 0, 3, 3] == 1


def test_an_image_with_more_pixels_than_its_cell_is_antialiased():
    stripes = np.zeros((288, 288))
    stripes[:, ::2] = 1
    figure = figures.image_grid([[stripes]], cell=1.0)
    box = figure.axes[0].get_window_extent()
    pixels = _pixels(figure)[:, :, 0]
    height = pixels.shape[0]
    inside = pixels[height - int(box.y1) + 3 : height - int(box.y0) - 3,
                    int(box.x0) + 3 : int(box.x1) - 3]  # fmt: skip
    assert abs(inside.mean() - 127.5) < 6 and inside.std() < 40


def test_a_contact_sheet_shows_every_image_in_order():
    images = torch.linspace(0.1, 0.9, 7).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    figure = figures.contact_sheet(images, columns=3)
    means = [float(axes.images[0].get_array().mean()) for axes in figure.axes]
    assert means == pytest.approx(images[:, 0, 0, 0].tolist())
    tops = [round(axes.get_position().y1, 6) for axes in figure.axes]
    assert [tops.count(top) for top in sorted(set(tops), reverse=True)] == [3, 3, 1]


def test_normalized_kernels_keep_their_signs_around_gray_and_use_the_whole_range():
    weights = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    weights[3], weights[4] = 0, weights[4] / 100
    normalized = figures.normalize_kernels(weights)
    assert (np.sign(normalized - 0.5) == np.sign(weights.numpy())).all()
    ranges = np.abs(normalized - 0.5).max(axis=(1, 2, 3))
    assert ranges == pytest.approx([0.5, 0.5, 0.5, 0, 0.5])
    shared = figures.normalize_kernels(weights, shared=True)
    expected = 0.5 * weights.numpy() / weights.abs().max().item()
    assert shared - 0.5 == pytest.approx(expected, abs=1e-7)


def test_a_sentence_takes_the_place_of_a_row():
    figure = figures.image_grid(
        [torch.rand(4, 3, 5, 5), "No decoder was trained.", torch.rand(4, 3, 5, 5)],
        row_labels=["a", "b", "c"],
    )
    assert len(figure.axes) == 8
    (sentence,) = [text for text in figure.texts if "No decoder" in text.get_text()]
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert heights["a"] > sentence.get_position()[1] == heights["b"] > heights["c"]
