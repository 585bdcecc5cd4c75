"""Planted units have their concepts; unavailable parts have a reason."""

from dataclasses import replace

import pytest
import torch
from pytest import approx
from support.planted_units import BLUE, COUNT, DOG, SIZE, dataset, network
from support.reference_dissection import LabelledTensors

from cnnvis_lab.data import ResizedImages, Subset
from cnnvis_lab.methods import net2vec, unit_profile
from cnnvis_lab.methods.net2vec import Probes
from cnnvis_lab.methods.unit_profile import Unavailable, layer

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_planted_unit_has_its_concept_with_an_iou_of_one(analysis):
    for unit, (name, category) in enumerate([("dog", "object"), ("blue", "color")]):
        fits = analysis.best_concepts(unit, 3)
        assert fits[0] == (name, category, 1.0) and fits[1].iou == 0 and len(fits) == 3


def test_weights_are_those_of_vectors_at_unit_length(analysis):
    labels = torch.tensor([2, 1, 3])
    probes = Probes(torch.tensor([[3.0, 4, 0], [0, -1, 0], [9, 0, 12]]), torch.zeros(3), labels)
    concepts = (("dog", "object"), ("blue", "color"), ("leg", "part"))
    vectors = layer.ConceptVectors(probes, torch.tensor([0.1, 0.2, 0.3]), concepts)
    with_vectors = replace(analysis, vectors=vectors)
    weights = [(row.concept, row.weight, row.rank) for row in with_vectors.largest_weights(0, 3)]
    assert weights == [("dog", approx(0.6), 2), ("leg", approx(0.6), 2), ("blue", 0, 1)]
    weights = [(row.concept, row.weight, row.score) for row in with_vectors.largest_weights(1, 2)]
    assert weights == [("dog", approx(0.8), approx(0.1)), ("leg", 0, approx(0.3))]


def test_vectors_are_learned_on_two_of_three_images_and_scored_on_the_third(analysis):
    data, indices = dataset(), torch.arange(COUNT)
    train, validation = (
        LabelledTensors(data.images[chosen], data.maps[chosen], data.labels)
        for chosen in (indices % 3 < 2, indices % 3 == 2)
    )
    train, validation = net2vec.prepare(network(), train, [validation], ["1"])
    concepts = net2vec.usable_concepts(train, validation, min_images=3)
    probes = net2vec.segment(train, "1", concepts)
    torch.testing.assert_close(analysis.vectors.probes.weights, probes.weights)
    expected = net2vec.set_iou(validation, "1", probes)
    torch.testing.assert_close(analysis.vectors.scores, expected)
    names = [train.concepts[c].name for c in concepts]
    assert [name for name, _ in analysis.vectors.concepts] == names


def test_the_active_fraction_is_a_fraction_of_images(analysis):
    maps = dataset().maps
    fractions = [(maps == label).flatten(1).any(1).float().mean() for label in (DOG, BLUE)]
    expected = torch.stack([*fractions, torch.tensor(0.0)])
    torch.testing.assert_close(analysis.active_fraction, expected)


def test_parts_that_need_labels_are_unavailable_without_them():
    images = dataset().images
    resized = ResizedImages("", SIZE, len(images), lambda indices: images[indices])
    for data in (resized, Subset(resized, range(20))):
        analysis = unit_profile.analyze_layer(network(), "1", data)
        top = unit_profile.top_images(network(), analysis, 0, 2)
        parts = [analysis.best_concepts(0, 3), analysis.largest_weights(0, 3), top.masks]
        assert all(part == Unavailable(layer.NO_LABELS) for part in parts)
        assert top.projections["guided"].shape == (2, 3, 1, 1)


def test_a_layer_without_feature_maps_has_vectors_and_no_masks():
    analysis = unit_profile.analyze_layer(network(), "logits", dataset(), min_images_per_split=3)
    assert "no mask" in analysis.best_concepts(0, 1).reason
    weights = analysis.largest_weights(1, 2)
    assert {row.concept for row in weights} <= {"dog", "blue"}
    assert all(0 <= row.score <= 1 for row in weights)


def test_no_vector_is_learned_from_too_few_images():
    few = unit_profile.analyze_layer(network(), "1", Subset(dataset(), range(2)))
    assert "too few" in few.largest_weights(0, 1).reason
    rare = unit_profile.analyze_layer(network(), "1", dataset(), min_images_per_split=50)
    assert "no concept occurs in 50" in rare.largest_weights(0, 1).reason
