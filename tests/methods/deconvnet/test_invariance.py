"""Transformations move images, and invariance measures how far features follow."""

import pytest
import torch
from torch import Tensor

from cnnvis_lab.core import NameNotFound, hooks
from cnnvis_lab.methods import deconvnet


def _transform(images: Tensor, kind: str, amount: float) -> Tensor:
    return deconvnet.TRANSFORMATIONS[kind].apply(images, amount)


def test_moving_by_nothing_changes_nothing(images):
    for kind, amount in (("translation", 0), ("scale", 1.0), ("rotation", 0), ("rotation", 360)):
        assert torch.allclose(_transform(images, kind, amount), images, atol=1e-4)


def test_pictures_move_as_told_and_gray_comes_in():
    image = torch.full((1, 3, 20, 20), 0.5)
    image[..., 3:6, 12:14] = 1.0
    down = _transform(image, "translation", 4)
    assert torch.equal(down[..., 7:10, 12:14], image[..., 3:6, 12:14])
    assert torch.equal(_transform(down, "translation", -4), image)
    assert float((down - 0.5).sum()) == pytest.approx(float((image - 0.5).sum()))
    assert torch.allclose(_transform(image, "rotation", 180), image.flip(2, 3), atol=1e-4)
    half = _transform(image, "scale", 0.5)
    assert half.shape == image.shape and half[..., :5, :].eq(0.5).all()


def test_a_pooled_layer_does_not_see_a_shift_that_the_first_one_does(network):
    image = torch.full((2, 3, 32, 32), 0.5)
    image[..., 12:18, 12:18] = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([1, 2])
    shown = deconvnet.invariance(
        network, image, ["1", "5"], "translation", amounts=[-4, 0, 4], labels=labels
    )
    assert torch.allclose(shown.distances["5"], torch.zeros(3, 2), atol=1e-5)
    assert not shown.distances["1"][1].any() and (shown.distances["1"][[0, 2]] > 0.05).all()
    moved = hooks.activations(network, _transform(image, "translation", 4), ["1"])["1"]
    plain = hooks.activations(network, image, ["1"])["1"]
    by_hand = (plain - moved).flatten(1).norm(dim=1) / plain.flatten(1).norm(dim=1)
    assert torch.allclose(shown.distances["1"][2], by_hand, atol=1e-5)
    chances = network(image).softmax(1)
    assert torch.allclose(shown.probability[1], chances[torch.arange(2), labels], atol=1e-6)
    first, second = plain.flatten(1)
    apart = (first - second).norm() * (1 / first.norm() + 1 / second.norm()) / 2
    assert shown.between_images["1"] == pytest.approx(float(apart), rel=1e-3)


def test_curves_are_means_over_pictures_in_units_of_the_distance_between_two(network, images):
    shown = deconvnet.invariance(network, images, ["1", "5"], "rotation", amounts=[0, 90, 180])
    amounts, line = shown.curves["5"]
    assert amounts == (0, 90, 180) and list(shown.curves) == ["1", "5", "p(class)"]
    assert torch.allclose(line, shown.distances["5"].mean(1) / shown.between_images["5"])
    assert line[0] == pytest.approx(0, abs=1e-4) and line[1] > 0
    usual = deconvnet.invariance(network, images, ["5"], "translation")
    assert usual.amounts == tuple(range(-8, 9))  # a quarter of 32 pixels each way
    for kind in deconvnet.TRANSFORMATIONS:
        amounts = deconvnet.TRANSFORMATIONS[kind].default_amounts(128)
        still = {"scale": 1}.get(kind, 0)
        assert still in amounts and amounts == sorted(set(amounts))
        assert torch.allclose(_transform(images, kind, still), images, atol=1e-4)
    assert shown.means["5"] == pytest.approx(float(line.mean()))
    named = network(images).softmax(1).amax(1)  # without labels, the class that is named
    assert shown.curves["p(class)"][1][0] == pytest.approx(float(named.mean()), abs=1e-5)


def test_a_wrong_transformation_is_refused_with_a_suggestion(network, images):
    with pytest.raises(NameNotFound, match="did you mean rotation"):
        deconvnet.invariance(network, images, ["0"], "rotate")
