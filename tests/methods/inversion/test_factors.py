"""Decoding scores of known factors from features, on cases with known answers."""

import pytest
import torch
from torch import Tensor

from cnnvis_lab.core import InputError
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion

pytestmark = pytest.mark.usefixtures("one_thread")


def _features(count: int = 200) -> Tensor:
    return torch.randn(count, 12, generator=torch.Generator().manual_seed(0))


def _score(features: Tensor, values: Tensor, seed: int = 0) -> float:
    factors = {"factor": inversion.Factor(values, False)}
    return inversion.decoding_scores({"layer": features}, factors, seed=seed)["factor"][0]


def test_a_linear_quantity_is_decodable_and_an_independent_one_is_not():
    features = _features(600)
    linear = features[:, :2] @ torch.tensor([[1.0, 0.5], [-2.0, 3.0]]) + 4
    other = torch.randn(600, 2, generator=torch.Generator().manual_seed(1))
    assert _score(features, linear) > 0.999
    assert abs(_score(features, other)) < 0.1
    half = linear[:, :1] + linear[:, :1].std() * other[:, :1]  # half of its variance is noise
    assert _score(features, half) == pytest.approx(0.5, abs=0.1)


def test_a_category_is_decodable_from_its_direction_and_chance_is_zero():
    features = _features()
    categories = features[:, :4].argmax(1)
    assert _score(features, categories) > 0.6
    shuffled = categories[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    assert abs(_score(features, shuffled)) < 0.2


def test_planted_factors_are_those_of_the_scenes():
    scenes = SceneSet(HELD_OUT_SEED, 8, start=16)
    scene = scenes.draw(5)
    factors = inversion.planted_factors([scenes.draw(1), scene])
    main = scene.objects[scene.main]
    assert factors["class"].values.tolist() == [1, 5]
    assert factors["position"].values[1].tolist() == pytest.approx([main.pose.x, main.pose.y])
    light = factors["light direction"]
    assert light.values[1].tolist() == pytest.approx([scene.light.x, scene.light.y])
    assert factors["exposure"].values[1].item() == pytest.approx(scene.camera.exposure)
    assert light.nuisance and not factors["scene"].nuisance and not factors["position"].nuisance


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="20 or more"):
        _score(_features(12), torch.zeros(12, 1))
    with pytest.raises(InputError, match="expected as many"):
        _score(_features(30), torch.zeros(29, 1))


def test_decoding_layers_and_factors_together_equals_decoding_each_alone():
    layers = {"a": _features(), "b": _features().square()}
    category = inversion.Factor(_features()[:, :4].argmax(1), False)
    position = inversion.Factor(_features()[:, 5:7], True)
    factors = {"category": category, "position": position}
    results = inversion.decoding_scores(layers, factors, seed=3)
    for name, factor in factors.items():
        alone = [_score(values, factor.values, seed=3) for values in layers.values()]
        assert results[name] == pytest.approx(alone)
    assert results["position"][0] > 0.99 > 0.5 > results["position"][1]
    assert results.nuisance == ("position",) and results.layers == ("a", "b")
    assert results.mean_nuisance().tolist() == pytest.approx(results["position"])


def test_planted_scenes_have_their_images_and_factors():
    planted = inversion.planted_scenes(3, 64)
    assert planted.images.shape == (3, 3, 64, 64)
    assert planted.factors["class"].values.tolist() == [0, 1, 2]
