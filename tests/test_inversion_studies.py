"""Numbers on inverted pictures, and planted factors read from features: known answers."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import measures
from cnnvis_lab.core.errors import InputError
from cnnvis_lab.data.scenes.sets import HELD_OUT_SEED, PictureSet
from cnnvis_lab.methods import inversion_studies as studies

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return PictureSet(HELD_OUT_SEED, 4).batch(range(4))


def test_another_picture_of_the_set_is_off_by_one(pictures):
    unit = measures.distance_unit(pictures)
    apart = [
        studies.pixel_error(pictures[[i]], pictures[[j]], unit).item()
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert np.mean(apart) == pytest.approx(1, rel=1e-5)
    assert studies.pixel_error(pictures, pictures, unit).abs().max() == 0
    twice = studies.pixel_error(pictures.repeat_interleave(2, 0), pictures, unit)
    assert twice.shape == (8,) and twice.abs().max() == 0


def test_a_picture_is_as_consistent_with_itself_as_can_be(pictures):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 128), nn.Flatten())
    model = models.load(net, input_size=128)
    assert studies.consistency(model, pictures, pictures).tolist() == [1, 1, 1, 1]
    named = model(pictures).argmax(1)
    turned = studies.consistency(model, pictures.flip(0), pictures)
    assert torch.equal(turned, (named.flip(0) == named).float())


def test_colour_is_kept_by_blur_and_lost_in_gray_and_turned_by_its_opposite(pictures):
    blurred = nn.functional.avg_pool2d(pictures, 16)
    blurred = nn.functional.interpolate(blurred, size=128)
    gray = pictures.mean(1, keepdim=True).expand_as(pictures)
    assert studies.color_kept(blurred, pictures).min() > 0.99
    assert studies.color_kept(gray, pictures).abs().max() < 1e-4
    assert studies.color_kept(1 - pictures, pictures).max() < -0.99


def test_what_stands_out_is_found_where_it_is_and_its_way_is_measured():
    image = torch.full((1, 3, 40, 40), 0.2)
    image[..., 8:12, 20:24] = 1.0
    assert studies.centroid(image)[0].tolist() == pytest.approx([21.5 / 39, 9.5 / 39], abs=1e-4)
    moved = image.roll((13, -9), (2, 3))
    expected = np.hypot(13, 9) / 39
    assert studies.position_error(moved, image).item() == pytest.approx(expected, abs=1e-4)
    assert studies.position_error(1 - moved, image).item() == pytest.approx(expected, abs=1e-4)


def test_starts_that_agree_have_no_spread(pictures):
    unit = measures.distance_unit(pictures)
    same = pictures[:, None].expand(-1, 3, -1, -1, -1)
    assert studies.spread(same, unit).abs().max() < 1e-4
    assert studies.spread(pictures[None], unit).item() == pytest.approx(1, rel=1e-5)
    with pytest.raises(InputError, match="two of them"):
        studies.spread(pictures[:, None], unit)


def _features(count: int = 200) -> torch.Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(0))


def test_a_linear_quantity_is_read_and_an_independent_one_is_not():
    features = _features(600)
    linear = features[:, :2] @ torch.tensor([[1.0, 0.5], [-2.0, 3.0]]) + 4
    other = torch.randn(600, 2, generator=torch.Generator().manual_seed(1))
    assert studies.readable(features, linear) > 0.999
    assert abs(studies.readable(features, other)) < 0.1
    half = linear[:, :1] + linear[:, :1].std() * other[:, :1]  # half of its variance is noise
    assert studies.readable(features, half) == pytest.approx(0.5, abs=0.1)


def test_a_kind_is_read_from_its_direction_and_chance_counts_as_zero():
    features = _features()
    kinds = features[:, :4].argmax(1)
    assert studies.readable(features, kinds) > 0.6
    shuffled = kinds[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    assert abs(studies.readable(features, shuffled)) < 0.2


def test_ridge_agrees_with_the_textbook_formula():
    features, targets = _features(60).double(), torch.randn(60, 3).double()
    learn, test = torch.arange(40), torch.arange(40, 60)
    found = studies._ridge(features, targets, learn, test, 0.1)
    mean, offset = features[learn].mean(0), targets[learn].mean(0)
    own = features[learn] - mean
    strength = 0.1 * (own * own).sum(1).mean()
    weights = torch.linalg.inv(own.T @ own + strength * torch.eye(12)) @ own.T
    expected = (features[test] - mean) @ weights @ (targets[learn] - offset) + offset
    assert torch.allclose(found, expected, atol=1e-9)


def test_planted_factors_are_the_pictures_own():
    pictures = PictureSet(HELD_OUT_SEED, 8, start=16)
    factors = studies.planted_factors(pictures, [1, 5])
    truth = pictures.picture(5)
    main = truth.objects[truth.main]
    assert factors["class"].values.tolist() == [1, 5] and factors["class"].is_kind
    assert factors["position"].values[1].tolist() == pytest.approx([main.pose.x, main.pose.y])
    light = factors["light direction"]
    assert light.values[1].tolist() == pytest.approx([truth.light.x, truth.light.y])
    assert light.nuisance and not light.is_kind and not factors["scene"].nuisance


def test_too_few_pictures_to_read_from_are_refused():
    with pytest.raises(InputError, match="20 or more"):
        studies.readable(_features(12), torch.zeros(12, 1))
    with pytest.raises(InputError, match="expected as many"):
        studies.readable(_features(30), torch.zeros(29, 1))
