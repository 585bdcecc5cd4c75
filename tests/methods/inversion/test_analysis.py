"""Numbers on inverted pictures: known answers."""

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
def pictures() -> torch.Tensor:
    return SceneSet(HELD_OUT_SEED, 4).batch(range(4))


def test_another_picture_of_the_set_is_off_by_one(pictures):
    unit = image_metrics.mean_pairwise_distance(pictures)
    apart = [
        analysis.pixel_error(pictures[[i]], pictures[[j]], unit).item()
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert np.mean(apart) == pytest.approx(1, rel=1e-5)
    assert analysis.pixel_error(pictures, pictures, unit).abs().max() == 0
    twice = analysis.pixel_error(pictures.repeat_interleave(2, 0), pictures, unit)
    assert twice.shape == (8,) and twice.abs().max() == 0


def test_a_picture_is_as_consistent_with_itself_as_can_be(pictures):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 128), nn.Flatten())
    model = models.load(net, input_size=128)
    assert inversion.consistency(model, pictures, pictures).tolist() == [1, 1, 1, 1]
    named = model(pictures).argmax(1)
    turned = inversion.consistency(model, pictures.flip(0), pictures)
    assert torch.equal(turned, (named.flip(0) == named).float())


def test_colour_is_kept_by_blur_and_lost_in_gray_and_turned_by_its_opposite(pictures):
    blurred = nn.functional.avg_pool2d(pictures, 16)
    blurred = nn.functional.interpolate(blurred, size=128)
    gray = pictures.mean(1, keepdim=True).expand_as(pictures)
    assert analysis.color_correlation(blurred, pictures).min() > 0.99
    assert analysis.color_correlation(gray, pictures).abs().max() < 1e-4
    assert analysis.color_correlation(1 - pictures, pictures).max() < -0.99


def test_what_stands_out_is_found_where_it_is_and_its_way_is_measured():
    image = torch.full((1, 3, 40, 40), 0.2)
    image[..., 8:12, 20:24] = 1.0
    assert analysis.centroid(image)[0].tolist() == pytest.approx([21.5 / 39, 9.5 / 39], abs=1e-4)
    moved = image.roll((13, -9), (2, 3))
    expected = np.hypot(13, 9) / 39
    assert analysis.position_error(moved, image).item() == pytest.approx(expected, abs=1e-4)
    assert analysis.position_error(1 - moved, image).item() == pytest.approx(expected, abs=1e-4)


def test_starts_that_agree_have_no_spread(pictures):
    unit = image_metrics.mean_pairwise_distance(pictures)
    same = pictures[:, None].expand(-1, 3, -1, -1, -1)
    assert inversion.distance_between_starts(same, unit).abs().max() < 1e-4
    assert inversion.distance_between_starts(pictures[None], unit).item() == pytest.approx(
        1, rel=1e-5
    )
    with pytest.raises(InputError, match="two of them"):
        inversion.distance_between_starts(pictures[:, None], unit)


def test_lone_pixels_are_spikes_and_even_grain_is_none():
    drawn = torch.Generator().manual_seed(0)
    grain = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=drawn)
    lone = torch.full((1, 3, 64, 64), 0.5)
    lone[..., 8::16, 8::16] = 1.0
    assert inversion.spikiness(grain).item() < 0.15
    assert inversion.spikiness(lone).item() == pytest.approx(1)
    edge = torch.full((1, 3, 64, 64), 0.2)
    edge[..., 32:] = 0.9  # a median keeps edges: nothing of them is a spike
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


def test_the_pictures_themselves_keep_everything_and_others_do_not(net, pictures):
    unit = image_metrics.mean_pairwise_distance(pictures)
    whole = inversion.evaluate(net, {"relu": pictures, "full": pictures}, pictures, unit)
    assert whole.layers == ("relu", "full")
    for lost in (whole.feature, whole.pixel, whole.position):
        assert lost.abs().max() < 1e-6
    assert whole.consistency.tolist() == [1, 1] and whole.color.min() > 0.999
    other = inversion.evaluate(net, {"full": pictures.flip(0)}, pictures, unit)
    assert other.pixel.item() > 0.5 and other.feature.item() > 0.01
    assert other.by_layer("pixel") == {"full": pytest.approx(other.pixel.item())}
    # Several starts of one picture count one by one.
    both = torch.stack([pictures, pictures.flip(0)], 1).flatten(0, 1)
    mean = inversion.evaluate(net, {"full": both}, pictures, unit)
    assert mean.pixel.item() == pytest.approx(other.pixel.item() / 2, rel=1e-4)


def test_codes_are_read_behind_the_relu_where_it_has_a_name(net):
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


def test_guessing_the_mean_place_is_off_by_the_places_own_spread():
    images = torch.full((2, 3, 41, 41), 0.2)
    images[0, :, 20, 10], images[1, :, 20, 30] = 1.0, 1.0
    assert inversion.baseline_position_error(images) == pytest.approx(10 / 40, abs=1e-3)


def test_order_falls_and_jumps_of_known_rows():
    assert (
        inversion.fraction_increasing([1, 2, 3, 4]) == 1
        and inversion.fraction_increasing([4, 3, 2, 1]) == 0
    )
    assert inversion.fraction_increasing([1, 3, 2]) == pytest.approx(2 / 3)
    assert inversion.largest_decrease([1.0, 4.0, 2.0, 2.5]) == pytest.approx(2)
    assert inversion.largest_decrease(torch.tensor([1.0, 2.0, 2.5])) == pytest.approx(-0.5)
    assert inversion.step_margin([0.0, 1.0, 5.0, 6.5], 2) == pytest.approx(2.5)
    assert inversion.step_margin([0.0, 1.0, 5.0, 6.5], 1) == pytest.approx(-3)
