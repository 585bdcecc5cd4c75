"""Planted factors read from features: known answers."""

import pytest
import torch

from cnnvis_lab.core import InputError, regression
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion
from cnnvis_lab.methods.inversion import factors

pytestmark = pytest.mark.usefixtures("one_thread")


def _features(count: int = 200) -> torch.Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(0))


def test_a_linear_quantity_is_read_and_an_independent_one_is_not():
    features = _features(600)
    linear = features[:, :2] @ torch.tensor([[1.0, 0.5], [-2.0, 3.0]]) + 4
    other = torch.randn(600, 2, generator=torch.Generator().manual_seed(1))
    assert factors.readability(features, linear) > 0.999
    assert abs(factors.readability(features, other)) < 0.1
    half = linear[:, :1] + linear[:, :1].std() * other[:, :1]  # half of its variance is noise
    assert factors.readability(features, half) == pytest.approx(0.5, abs=0.1)


def test_a_kind_is_read_from_its_direction_and_chance_counts_as_zero():
    features = _features()
    kinds = features[:, :4].argmax(1)
    assert factors.readability(features, kinds) > 0.6
    shuffled = kinds[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    assert abs(factors.readability(features, shuffled)) < 0.2


def test_ridge_agrees_with_the_textbook_formula():
    features, targets = _features(60).double(), torch.randn(60, 3).double()
    learn, test = torch.arange(40), torch.arange(40, 60)
    found = regression.dual_ridge_predictions(features @ features.T, targets, learn, test, 0.1)
    mean, offset = features[learn].mean(0), targets[learn].mean(0)
    own = features[learn] - mean
    strength = 0.1 * (own * own).sum(1).mean()
    weights = torch.linalg.inv(own.T @ own + strength * torch.eye(12)) @ own.T
    expected = (features[test] - mean) @ weights @ (targets[learn] - offset) + offset
    assert torch.allclose(found, expected, atol=1e-9)


def test_planted_factors_are_the_pictures_own():
    pictures = SceneSet(HELD_OUT_SEED, 8, start=16)
    truth = pictures.draw(5)
    factors = inversion.planted_factors([pictures.draw(1), truth])
    main = truth.objects[truth.main]
    assert factors["class"].values.tolist() == [1, 5] and factors["class"].is_kind
    assert factors["position"].values[1].tolist() == pytest.approx([main.pose.x, main.pose.y])
    light = factors["light direction"]
    assert light.values[1].tolist() == pytest.approx([truth.light.x, truth.light.y])
    assert light.nuisance and not light.is_kind and not factors["scene"].nuisance


def test_too_few_pictures_to_read_from_are_refused():
    with pytest.raises(InputError, match="20 or more"):
        factors.readability(_features(12), torch.zeros(12, 1))
    with pytest.raises(InputError, match="expected as many"):
        factors.readability(_features(30), torch.zeros(29, 1))


def test_layer_by_layer_is_as_one_by_one():
    layers = {"a": _features(), "b": _features().square()}
    kinds = inversion.Factor(_features()[:, :4].argmax(1), False)
    place = inversion.Factor(_features()[:, 5:7], True)
    found = inversion.readability_by_layer(layers, {"kind": kinds, "place": place}, seed=3)
    for name, factor in (("kind", kinds), ("place", place)):
        alone = [factors.readability(values, factor, seed=3) for values in layers.values()]
        assert found[name] == pytest.approx(alone)
    assert found["place"][0] > 0.99 > 0.5 > found["place"][1]
