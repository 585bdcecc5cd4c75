"""Figures of inversion: every cell within the page, numbers at their layers."""

import matplotlib.figure
import pytest
import torch
from torch import Tensor

from cnnvis_lab.lab import figures
from cnnvis_lab.lab.gallery import previews
from cnnvis_lab.methods import inversion

LAYERS = ("CL1.relu", "CL2.relu", "FL1")
METHODS = ("this project", "2015", "no prior", "2016, C = 1", "2016, C = 100", "2016, C = 300")


def _images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def _inversion(count: int = 2, starts: int = 1) -> inversion.Inversion:
    images = torch.rand(3, count, starts, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    errors = torch.rand(3, count, starts)
    return inversion.Inversion(LAYERS, images, errors, errors[None], False)


def _width(figure: matplotlib.figure.Figure) -> int:
    return round(figure.get_figwidth() * figures.style.DPI)


def _assert_within_the_page(figure: matplotlib.figure.Figure) -> None:
    for cell in figure.axes:
        box = cell.get_position()
        assert 0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1
    assert _width(figure) <= previews.MAX_WIDTH
    assert figures.to_png(figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize("decoded", [0, 2])
def test_every_cell_of_the_walkthrough_is_within_the_page(decoded):
    maps = [torch.rand(3, 8, 8), *torch.rand(2, 5, 5)]
    stages = inversion.Walkthrough(
        LAYERS[:2], maps, (1, 4), maps[:1] * 2, (0.5, 0.25), ("f", "g")[:decoded], maps[:decoded]
    )
    drawing = figures.inversion.walkthrough(stages)
    assert len(drawing.figure.axes) == 5 + decoded
    _assert_within_the_page(drawing.figure)
    assert drawing.arrays["errors"].tolist() == [0.5, 0.25]


def test_a_row_for_each_image_and_method_and_a_column_for_each_layer():
    images, inverted = _images(4), _inversion(4).by_layer()
    decoded = {"CL1.relu": _images(4)}
    methods = {"regularizer": inverted, "decoder": decoded}
    drawing = figures.inversion.by_layer(images, methods, [1, 3])
    assert len(drawing.figure.axes) == 2 * (1 + 3 + 1)
    assert torch.equal(drawing.arrays["CL2"], inverted["CL2.relu"][[1, 3]])
    _assert_within_the_page(drawing.figure)
    without = figures.inversion.by_layer(images, {**methods, "decoder": {}}, [1, 3])
    assert len(without.figure.axes) == 2 * (1 + 3)


def test_images_by_recipe_start_and_prior():
    images, results = _images(), {name: _inversion() for name in METHODS}
    by_recipe = figures.inversion.by_recipe(images[0], results)
    assert len(by_recipe.figure.axes) == 4 * 4 and by_recipe.arrays.keys() == set(METHODS)
    by_start = figures.inversion.by_start(
        images, _inversion(starts=3), dict(zip(LAYERS, (0.1, 0.2, 0.3), strict=True))
    )
    assert len(by_start.figure.axes) == 3 * (2 + 2 * 3)
    assert by_start.arrays["spread"] == [0.1, 0.2, 0.3]
    priors = {name: _inversion() for name in inversion.variation_recipes([1, 10])}
    by_prior = figures.inversion.by_prior(images[0], priors, inversion.prior_effects(priors))
    assert len(by_prior.figure.axes) == 3 * (1 + 3)
    for drawing in (by_recipe, by_start, by_prior):
        _assert_within_the_page(drawing.figure)


def test_rows_of_missing_decoders_are_left_out():
    images, inverted = _images(), _inversion().by_layer()
    own = {"CL2.relu": _images()}
    full = figures.inversion.bottleneck(images, "CL2.relu", inverted, own, own)
    assert len(full.figure.axes) == 4 * 2
    assert set(full.arrays) == {"picture", "by regulariser", "by decoder", "autoencoder"}
    alone = figures.inversion.bottleneck(images, "CL2.relu", inverted, {}, own)
    assert len(alone.figure.axes) == 3 * 2
    assert "no autoencoder" in figures.inversion.bottleneck(images, "CL2.relu", inverted, own, {})
    _assert_within_the_page(full.figure)


def test_metrics_are_drawn_at_their_layers():
    metrics = inversion.ReconstructionMetrics(
        LAYERS, torch.tensor([True, True, False]), *torch.rand(6, 3)
    )
    partial = inversion.ReconstructionMetrics(LAYERS[:1], torch.tensor([True]), *torch.rand(6, 1))
    comparison = inversion.Comparison(
        {**dict.fromkeys(METHODS, metrics), "up-convolution": partial}
    )
    distances = {"FL1": 0.5, "CL1.relu": 0.25}
    drawing = figures.inversion.metrics_by_layer(comparison, distances)
    assert len(drawing.figure.axes) == 8
    (line,) = drawing.figure.axes[3].lines
    assert line.get_xdata().tolist() == [2, 0] and line.get_ydata().tolist() == [0.5, 0.25]
    labels = [text.get_text() for text in drawing.figure.axes[3].get_xticklabels()]
    assert labels == ["CL1", "CL2", "FL1"]
    assert torch.equal(drawing.arrays["2015 pixel"], metrics.pixel)
    _assert_within_the_page(drawing.figure)


def test_layers_with_long_names_are_numbered():
    scores = inversion.DecodingScores(
        ("features.3", "features.6"), {"class": [0.5, 1.0], "size": [0.25, 0.0]}, ("size",)
    )
    drawing = figures.inversion.decoding_scores(scores)
    relevant, nuisance = drawing.figure.axes
    assert [text.get_text() for text in relevant.get_xticklabels()] == ["1", "2"]
    assert nuisance.lines[0].get_ydata().tolist() == [0.25, 0.0]
    _assert_within_the_page(drawing.figure)
