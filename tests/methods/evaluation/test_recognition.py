"""The judge's numbers: distances to real pictures have their unit and their zero."""

from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import evaluation


@cache
def real() -> torch.Tensor:
    return SceneSet(HELD_OUT_SEED, 48).batch(range(48))


@cache
def judge() -> models.Model:
    return models.load("judge_mini")


def test_a_real_picture_is_at_no_distance_from_itself():
    found = evaluation.distance_to_real(judge(), real()[:5], real())
    torch.testing.assert_close(found, torch.zeros(5), atol=2e-2, rtol=0)


def test_other_real_pictures_are_at_about_one_and_noise_is_farther():
    others = SceneSet(HELD_OUT_SEED, 16, start=48).batch(range(16))
    near = evaluation.distance_to_real(judge(), others, real()).mean()
    noise = evaluation.distance_to_real(judge(), torch.rand(4, 3, 128, 128), real()).mean()
    assert near == pytest.approx(1, abs=0.25) and noise > 1.5 * near


def test_pooled_features_are_means_and_maxima_of_maps():
    found = evaluation.pooled_features(judge(), torch.rand(2, 3, 64, 64), layers=["stage1"])
    half = found.shape[1] // 2
    assert (found[:, half:] >= found[:, :half]).all()


def test_batches_do_not_change_features():
    whole = evaluation.pooled_features(judge(), real()[:6], batch=64)
    torch.testing.assert_close(evaluation.pooled_features(judge(), real()[:6], batch=2), whole)


def test_pictures_are_named_by_their_most_likely_class_and_recognised_where_that_is_the_one_asked():
    names = evaluation.predict_names(judge(), real()[:12], batch=5)
    wanted = judge()(real()[:12]).argmax(1)
    assert names == [judge().card.classes[number] for number in wanted.tolist()]
    asked = [*names[:6], *("dog" if name != "dog" else "cat" for name in names[6:])]
    assert evaluation.is_recognized(judge(), real()[:12], asked).tolist() == [1.0] * 6 + [0.0] * 6
