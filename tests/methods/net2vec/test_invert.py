"""Inverted concept vectors show the patterns planted in their units."""

import dataclasses

import pytest
import torch
from support.reference_dissection import LabelledTensors, random_data, small_net
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.data import Label
from cnnvis_lab.methods import evaluation, inversion, net2vec
from cnnvis_lab.methods.net2vec import Probes, invert, prepare

pytestmark = pytest.mark.usefixtures("one_thread")


def prepared() -> net2vec.PreparedSet:
    return prepare(small_net(), random_data(), [], ["3", "6"], quantile=0.05, block=4)[0]


@pytest.mark.parametrize("layer", ["3", "6"])
def test_target_codes_are_parallel_to_their_vector_in_units_of_the_thresholds(layer):
    data, generator = prepared(), torch.Generator().manual_seed(0)
    weights = torch.randn(2, data[layer].units, generator=generator)
    codes = invert.target_codes(data, layer, Probes(weights, torch.zeros(2), torch.tensor([0, 1])))
    rows, columns = data[layer].grid.rows.count, data[layer].grid.columns.count
    assert codes.shape == (2, data[layer].units, rows, columns)
    thresholds = data[layer].thresholds.clamp(min=float(data[layer].thresholds.median()))
    peak = codes.flatten(2).gather(2, codes.abs().flatten(2).argmax(2, keepdim=True))[..., 0]
    assert torch.allclose(
        torch.nn.functional.normalize(peak * thresholds),
        torch.nn.functional.normalize(weights),
        atol=1e-5,
    )
    flipped = codes.flip(2, 3)
    assert torch.allclose(codes, flipped)  # the middle of the map, not a corner
    assert (codes[:, :, 0, 0].abs() <= codes[:, :, rows // 2, columns // 2].abs()).all()


def test_a_fully_connected_layer_at_its_thresholds_scores_one():
    data = prepared()
    weights = torch.tensor([[1.0, -2.0, 0.5, 0.0]])
    code = invert.target_codes(
        data, "6", Probes(weights, torch.zeros(1), torch.tensor([0]))
    ).flatten()
    thresholds = data["6"].thresholds.clamp(min=float(data["6"].thresholds.median()))
    reached = thresholds * (weights[0] > 0)
    assert torch.allclose((reached * code).sum() / code.square().sum(), torch.tensor(1.0))


def _planted(level: float = 0.0) -> tuple[models.Model, net2vec.PreparedSet]:
    """Units are the color channels above a level, two image pixels per position."""
    net = nn.Sequential(nn.Conv2d(3, 3, 2, stride=2), nn.ReLU())
    net.requires_grad_(False)
    net[0].weight[:], net[0].bias[:] = torch.eye(3)[:, :, None, None] / 4, -level
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = torch.ones(12, 1, 16, 16, dtype=torch.int32)
    maps[:, :, :4] = 0
    maps[7, :, 2] = 1
    labels = {1: Label(1, "cat", "object", 0), 2: Label(2, "dog", "object", 0)}
    model = models.load(net, input_size=32, classes=("cat", "cup", "red"))
    return model, prepare(model, LabelledTensors(images, maps, labels), [], ["1"], quantile=0.05)[0]


def test_an_inverted_vector_shows_only_its_positive_units_in_the_center():
    model, data = _planted()
    weights = torch.tensor([[1.0, -1.0, 1.0], [0.0, 1.0, 0.0], [-1.0, -1.0, 1.0]])
    probes = Probes(weights, torch.zeros(3), torch.tensor([0, 0, 1]))
    inverted = net2vec.invert_vectors(model, data, "1", probes, steps=40)
    assert inverted.shape == (3, 3, 32, 32) and inverted.min() >= 0 and inverted.max() <= 1
    center = inverted[:, :, 12:20, 12:20].mean((2, 3))
    assert (center[weights > 0] > 0.6).all() and (center[weights < 0] < 0.5).all()
    assert torch.equal(inverted, net2vec.invert_vectors(model, data, "1", probes, steps=40))
    other = net2vec.invert_vectors(model, data, "1", probes, steps=40, seed=1)
    assert not torch.equal(inverted, other)


def test_a_unit_that_is_inactive_on_noise_is_activated():
    model, data = _planted(0.6)
    probes = Probes(torch.eye(3)[:2], torch.zeros(2), torch.tensor([0, 1]))
    code = {"1": invert.target_codes(data, "1", probes)}
    from_noise = inversion.invert(model, code, recipe=net2vec.inversion_recipe(60))["1"]
    assert (from_noise.flatten(1).std(1) < invert.GRAY_STD).all()
    inverted = net2vec.invert_vectors(model, data, "1", probes, steps=60)
    assert (inverted[:, :, 12:20, 12:20].mean((2, 3)).diagonal() > 0.7).all()


def test_the_largest_example_is_the_image_with_most_pixels_of_the_concept():
    data = _planted()[1]
    assert torch.equal(net2vec.largest_example(data, 0), data.data.batch([7])[0])
    with pytest.raises(InputError, match="no image shows 'dog'"):
        net2vec.largest_example(data, 1)


def test_the_rows_to_invert_are_objects_that_the_classifier_has_a_class_for():
    model, data = _planted()
    probes = Probes(torch.zeros(3, 3), torch.zeros(3), torch.tensor([0, 1, 0]))
    assert net2vec.rows_to_invert(model, data, probes, []) == [0, 2]
    both = models.load(model.net, input_size=32, classes=("dog", "cat", "x"))
    assert net2vec.rows_to_invert(both, data, probes, ["dog"]) == [1, 0, 2]
    neither = models.load(model.net, input_size=32, classes=("x", "y", "z"))
    assert net2vec.rows_to_invert(neither, data, probes, ["dog"]) == [0, 1, 2]


def test_concepts_are_recognized_if_the_classifier_has_their_classes():
    model, data = _planted()
    averaged = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier, other = (
        models.load(averaged, input_size=32, classes=names)
        for names in (("cat", "cup", "red"), ("x", "y", "z"))
    )
    concept, bias = torch.tensor([0, 0]), torch.zeros(2)
    single, both = (Probes(torch.eye(3)[rows], bias, concept) for rows in ([0, 1], [2, 0]))
    inverted = net2vec.invert_concepts(
        model, data, "1", single, both, classifier=classifier, steps=4
    )
    assert inverted.names == ["cat", "cat"] and len(inverted.real) == 2
    assert torch.equal(inverted.real[0], net2vec.largest_example(data, 0))
    assert torch.equal(
        inverted.combination, net2vec.invert_vectors(model, data, "1", both, steps=4)
    )
    predicted = evaluation.predict_names(classifier, inverted.combination)
    assert inverted.combination_classes == predicted
    known = {"single_classes": ["cat", "cup"], "combination_classes": ["cat", "cat"]}
    improved = dataclasses.replace(inverted, **known)
    assert improved.recognized() == {"single filters": 0.5, "combinations": 1}
    assert improved.gain() == 0.5
    unknown = net2vec.invert_concepts(model, data, "1", single, both, classifier=other, steps=1)
    assert unknown.recognized() == {} and unknown.gain() is None
