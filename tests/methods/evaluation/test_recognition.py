"""Distances and recognition by an independent classifier, on images with known values."""

from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import evaluation
from cnnvis_lab.methods.evaluation import recognition


@cache
def real() -> torch.Tensor:
    return SceneSet(HELD_OUT_SEED, 48).batch(range(48))


@cache
def classifier() -> models.Model:
    return models.load("judge_mini")


def test_the_distance_of_a_real_image_to_itself_is_zero():
    distances = evaluation.distance_to_real(classifier(), real()[:5], real())
    torch.testing.assert_close(distances, torch.zeros(5), atol=2e-2, rtol=0)


def test_the_distance_of_other_real_images_is_about_one_and_of_noise_larger():
    others = SceneSet(HELD_OUT_SEED, 16, start=48).batch(range(16))
    near = evaluation.distance_to_real(classifier(), others, real()).mean()
    noise = evaluation.distance_to_real(classifier(), torch.rand(4, 3, 128, 128), real()).mean()
    assert near == pytest.approx(1, abs=0.25) and noise > 1.5 * near


def test_pooled_features_are_means_and_maxima_of_maps():
    features = evaluation.pooled_features(classifier(), torch.rand(2, 3, 64, 64), layers=["stage1"])
    half = features.shape[1] // 2
    assert (features[:, half:] >= features[:, :half]).all()


def test_the_pool_of_a_fully_connected_layer_is_its_output_twice():
    images, network = real()[:2], models.load("alexnet_mini")
    features = evaluation.pooled_features(network, images, layers=["logits"])
    assert torch.equal(features, network(images).repeat(1, 2))


def test_batches_do_not_change_features():
    whole = evaluation.pooled_features(classifier(), real()[:6], batch=64)
    in_pairs = evaluation.pooled_features(classifier(), real()[:6], batch=2)
    torch.testing.assert_close(in_pairs, whole)


def test_the_predicted_class_is_the_most_likely_one():
    names = evaluation.predict_names(classifier(), real()[:12], batch=5)
    predicted = classifier()(real()[:12]).argmax(1)
    assert names == [classifier().card.classes[index] for index in predicted.tolist()]


def test_images_are_recognized_if_the_predicted_class_is_the_intended_one():
    names = evaluation.predict_names(classifier(), real()[:12])
    intended = [*names[:6], *("dog" if name != "dog" else "cat" for name in names[6:])]
    assert evaluation.fraction_recognized(classifier(), real()[:6], intended[:6]) == 1
    assert evaluation.fraction_recognized(classifier(), real()[6:12], intended[6:]) == 0
    assert evaluation.fraction_recognized(classifier(), real()[:12], intended) == 0.5


def test_real_images_are_recognized():
    scenes = SceneSet(HELD_OUT_SEED, 16)
    intended = [classifier().card.classes[index] for index in scenes.classes().tolist()]
    assert evaluation.fraction_recognized(classifier(), scenes.batch(range(16)), intended) > 0.8


def test_a_class_that_the_classifier_does_not_have_is_refused():
    with pytest.raises(InputError, match="has no class 'zebra'"):
        evaluation.fraction_recognized(classifier(), real()[:1], ["zebra"])


def test_an_independent_classifier_is_another_network_that_has_the_classes(monkeypatch):
    scenes, photographs = (
        models.load("alexnet_mini"),
        models.load("squeezenet1_1", weights="random"),
    )
    assert evaluation.independent_classifier(scenes).card.name == "judge_mini"
    with pytest.raises(NameNotFound, match="did you mean judge_mini"):
        evaluation.independent_classifier(scenes, "judge")
    monkeypatch.setattr(recognition, "load", None)  # nothing else is loaded
    assert evaluation.independent_classifier(classifier()) is None
    assert evaluation.independent_classifier(photographs) is None
