"""Measures of inverted images, on images with known answers."""

import math
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, image_metrics
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion import analysis

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return SceneSet(HELD_OUT_SEED, 4).batch(range(4))


def test_the_mean_pixel_error_between_different_images_is_one(images):
    scale = image_metrics.mean_pairwise_distance(images)
    errors = [
        analysis.pixel_error(images[[i]], images[[j]], scale).item()
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert np.mean(errors) == pytest.approx(1, rel=1e-5)
    assert analysis.pixel_error(images, images, scale).abs().max() == 0
    repeated = analysis.pixel_error(images.repeat_interleave(2, 0), images, scale)
    assert repeated.shape == (8,) and repeated.abs().max() == 0


def test_consistency_is_one_where_the_predicted_class_is_the_same(images):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 128), nn.Flatten())
    model = models.load(net, input_size=128)
    assert inversion.consistency(model, images, images).tolist() == [1, 1, 1, 1]
    predicted = model(images).argmax(1)
    reversed_order = inversion.consistency(model, images.flip(0), images)
    assert torch.equal(reversed_order, (predicted.flip(0) == predicted).float())


def test_color_correlation_is_one_for_blurred_zero_for_gray_and_negative_for_inverted_images(
    images,
):
    blurred = nn.functional.avg_pool2d(images, 16)
    blurred = nn.functional.interpolate(blurred, size=128)
    gray = images.mean(1, keepdim=True).expand_as(images)
    assert analysis.color_correlation(blurred, images).min() > 0.99
    assert analysis.color_correlation(gray, images).abs().max() < 1e-4
    assert analysis.color_correlation(1 - images, images).max() < -0.99


def test_the_centroid_is_at_the_salient_object_and_its_shift_is_the_position_error():
    image = torch.full((1, 3, 40, 40), 0.2)
    image[..., 8:12, 20:24] = 1.0
    assert analysis.centroid(image)[0].tolist() == pytest.approx([21.5 / 39, 9.5 / 39], abs=1e-4)
    shifted = image.roll((13, -9), (2, 3))
    expected = np.hypot(13, 9) / 39
    assert analysis.position_error(shifted, image).item() == pytest.approx(expected, abs=1e-4)
    assert analysis.position_error(1 - shifted, image).item() == pytest.approx(expected, abs=1e-4)


def test_identical_images_from_all_starts_have_no_distance(images):
    scale = image_metrics.mean_pairwise_distance(images)
    identical = images[:, None].expand(-1, 3, -1, -1, -1)
    assert inversion.distance_between_starts(identical, scale).abs().max() < 1e-4
    assert inversion.distance_between_starts(images[None], scale).item() == pytest.approx(
        1, rel=1e-5
    )
    with pytest.raises(InputError, match="two of them"):
        inversion.distance_between_starts(images[:, None], scale)


def test_isolated_pixels_are_spikes_and_uniform_noise_and_edges_are_not():
    generator = torch.Generator().manual_seed(0)
    noise = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=generator)
    isolated = torch.full((1, 3, 64, 64), 0.5)
    isolated[..., 8::16, 8::16] = 1.0
    assert inversion.spikiness(noise).item() < 0.15
    assert inversion.spikiness(isolated).item() == pytest.approx(1)
    edge = torch.full((1, 3, 64, 64), 0.2)
    edge[..., 32:] = 0.9  # a median filter preserves edges, so they are no spikes
    assert inversion.spikiness(edge).item() == 0


@pytest.fixture(scope="module")
def net() -> models.Model:
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 4, 9, stride=8),
        "relu": nn.ReLU(),
        "flat": nn.Flatten(),
        "full": nn.Linear(4 * 15 * 15, 5),
    }
    return models.load(nn.Sequential(OrderedDict(layers)), input_size=128)


def test_the_original_images_have_no_errors_and_others_have(net, images):
    scale = image_metrics.mean_pairwise_distance(images)
    exact = inversion.evaluate(net, {"relu": images, "full": images}, images, scale)
    assert exact.layers == ("relu", "full")
    for error in (exact.feature, exact.pixel, exact.position):
        assert error.abs().max() < 1e-6
    assert exact.consistency.tolist() == [1, 1] and exact.color.min() > 0.999
    other = inversion.evaluate(net, {"full": images.flip(0)}, images, scale)
    assert other.pixel.item() > 0.5 and other.feature.item() > 0.01
    assert other.by_layer("pixel") == {"full": pytest.approx(other.pixel.item())}
    # Each start of an image is evaluated as an image of its own.
    both = torch.stack([images, images.flip(0)], 1).flatten(0, 1)
    mean = inversion.evaluate(net, {"full": both}, images, scale)
    assert mean.pixel.item() == pytest.approx(other.pixel.item() / 2, rel=1e-4)


def test_summaries_of_known_metrics():
    values, is_map = torch.tensor([0.1, 0.2, 0.6, 0.7]), torch.tensor([True, True, False, False])
    layers = ("CL1", "CL2", "FL1", "FL2")
    metrics = inversion.ReconstructionMetrics(layers, is_map, *[values] * 6)
    assert metrics.last("color") == pytest.approx(0.7)
    assert metrics.last("position", 0.5) == pytest.approx(1.4)
    assert metrics.convolutional_mean("consistency") == pytest.approx(0.15)
    assert metrics.fully_connected_step_margin("pixel") == pytest.approx(0.3)
    other = inversion.ReconstructionMetrics(layers[1:2], is_map[:1], *[values[:1]] * 6)
    assert metrics.smallest_excess("pixel", other) == pytest.approx(0.1)
    maps_only = inversion.ReconstructionMetrics(layers, is_map | True, *[values] * 6)
    assert maps_only.fully_connected_step_margin("pixel") is None


def test_without_inverted_images_nothing_can_be_measured(net, images):
    empty = inversion.evaluate(net, {}, images, 1.0)
    assert empty.last("color") is None and empty.by_layer("pixel") == {}
    assert empty.fully_connected_step_margin("pixel") is None
    assert empty.smallest_excess("pixel", empty) is None


def test_the_mean_distance_between_starts_is_per_layer(images):
    stacked = torch.stack([images[None, :2], images[None, 2:]])
    errors = torch.zeros(2, 1, 2)
    result = inversion.Inversion(("a", "b"), stacked, errors, errors[None], False)
    distances = inversion.mean_distance_between_starts(result, 1.0)
    assert distances["a"] == pytest.approx(float((images[0] - images[1]).norm()), rel=1e-5)
    assert list(distances) == ["a", "b"]


def test_codes_are_read_after_the_relu_if_it_is_a_named_layer(net):
    mini = models.load("alexnet_mini", weights="random")
    assert inversion.post_relu_layers(mini) == {
        **{f"CL{n}": f"CL{n}.relu" for n in range(1, 6)},
        **{"FL1": "FL1.relu", "FL2": "FL2.relu", "FL3": "FL3"},
    }
    assert inversion.post_relu_layers(mini, ["CL2", "pool5"]) == {
        "CL2": "CL2.relu",
        "pool5": "pool5",
    }
    assert "logits" in inversion.post_relu_layers(net)


def test_the_baseline_position_error_is_the_mean_distance_from_the_mean_position():
    images = torch.full((2, 3, 41, 41), 0.2)
    images[0, :, 20, 10], images[1, :, 20, 30] = 1.0, 1.0
    assert inversion.baseline_position_error(images) == pytest.approx(10 / 40, abs=1e-3)


def test_increases_decreases_and_margins_of_known_sequences():
    assert (
        inversion.fraction_increasing([1, 2, 3, 4]) == 1
        and inversion.fraction_increasing([4, 3, 2, 1]) == 0
    )
    assert inversion.fraction_increasing([1, 3, 2]) == pytest.approx(2 / 3)
    assert math.isnan(inversion.fraction_increasing([1]))  # no pairs
    assert math.isnan(inversion.largest_decrease([1.0]))
    assert inversion.largest_decrease([1.0, 4.0, 2.0, 2.5]) == pytest.approx(2)
    assert inversion.largest_decrease(torch.tensor([1.0, 2.0, 2.5])) == pytest.approx(-0.5)
    assert inversion.step_margin([0.0, 1.0, 5.0, 6.5], 2) == pytest.approx(2.5)
    assert inversion.step_margin([0.0, 1.0, 5.0, 6.5], 1) == pytest.approx(-3)
