"""Transformations move images, and invariance measures how far features follow."""

import pytest
import torch
from torch import Tensor

from cnnvis_lab.core import NameNotFound, hooks
from cnnvis_lab.methods import deconvnet


def _transform(images: Tensor, kind: str, amount: float) -> Tensor:
    return deconvnet.TRANSFORMATIONS[kind].apply(images, amount)


def test_identity_transformations_change_nothing(images):
    for kind, amount in (("translation", 0), ("scale", 1.0), ("rotation", 0), ("rotation", 360)):
        assert torch.allclose(_transform(images, kind, amount), images, atol=1e-4)


def test_images_are_transformed_by_the_given_amount_and_padded_with_gray():
    image = torch.full((1, 3, 20, 20), 0.5)
    image[..., 3:6, 12:14] = 1.0
    shifted = _transform(image, "translation", 4)
    assert torch.equal(shifted[..., 7:10, 12:14], image[..., 3:6, 12:14])
    assert torch.equal(_transform(shifted, "translation", -4), image)
    assert float((shifted - 0.5).sum()) == pytest.approx(float((image - 0.5).sum()))
    assert torch.allclose(_transform(image, "rotation", 180), image.flip(2, 3), atol=1e-4)
    halved = _transform(image, "scale", 0.5)
    assert halved.shape == image.shape and halved[..., :5, :].eq(0.5).all()


def test_globally_pooled_features_are_shift_invariant_and_the_first_layers_are_not(network):
    images = torch.full((2, 3, 32, 32), 0.5)
    images[..., 12:18, 12:18] = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([1, 2])
    invariance = deconvnet.invariance(
        network, images, ["1", "5"], "translation", amounts=[-4, 0, 4], labels=labels
    )
    assert torch.allclose(invariance.distances["5"], torch.zeros(3, 2), atol=1e-5)
    assert (
        not invariance.distances["1"][1].any() and (invariance.distances["1"][[0, 2]] > 0.05).all()
    )
    shifted = hooks.activations(network, _transform(images, "translation", 4), ["1"])["1"]
    original = hooks.activations(network, images, ["1"])["1"]
    expected = (original - shifted).flatten(1).norm(dim=1) / original.flatten(1).norm(dim=1)
    assert torch.allclose(invariance.distances["1"][2], expected, atol=1e-5)
    probabilities = network(images).softmax(1)
    assert torch.allclose(
        invariance.probability[1], probabilities[torch.arange(2), labels], atol=1e-6
    )
    first, second = original.flatten(1)
    distance = (first - second).norm() * (1 / first.norm() + 1 / second.norm()) / 2
    assert invariance.between_images["1"] == pytest.approx(float(distance), rel=1e-3)


def test_curves_are_mean_distances_divided_by_the_distance_between_images(network, images):
    invariance = deconvnet.invariance(network, images, ["1", "5"], "rotation", amounts=[0, 90, 180])
    curve = invariance.relative_distances("5")
    assert invariance.amounts == (0, 90, 180) and list(invariance.distances) == ["1", "5"]
    assert torch.allclose(curve, invariance.distances["5"].mean(1) / invariance.between_images["5"])
    alone = deconvnet.invariance(network, images[:1], ["5"], "scale", amounts=(1, 1.5))
    assert alone.relative_distances("5").isnan().all()
    assert curve[0] == pytest.approx(0, abs=1e-4) and curve[1] > 0
    default = deconvnet.invariance(network, images, ["5"], "translation")
    assert default.amounts == tuple(range(-8, 9))  # a quarter of 32 pixels in each direction
    for kind in deconvnet.TRANSFORMATIONS:
        amounts = deconvnet.TRANSFORMATIONS[kind].default_amounts(128)
        identity = {"scale": 1}.get(kind, 0)
        assert identity in amounts and amounts == sorted(set(amounts))
        assert torch.allclose(_transform(images, kind, identity), images, atol=1e-4)
    assert invariance.mean_distance("5") == pytest.approx(float(curve.mean()))
    predicted = network(images).softmax(1).amax(1)  # without labels, of the predicted class
    assert invariance.probability[0].mean() == pytest.approx(float(predicted.mean()), abs=1e-5)
    assert invariance.mean_probability == pytest.approx(float(invariance.probability.mean()))


def test_a_wrong_transformation_is_refused_with_a_suggestion(network, images):
    with pytest.raises(NameNotFound, match="did you mean rotation"):
        deconvnet.invariance(network, images, ["0"], "rotate")
