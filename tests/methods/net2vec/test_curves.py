"""Curves of scores by number of filters: the fewest that are enough, and all of them."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab.methods import net2vec
from cnnvis_lab.methods.net2vec import FilterCurve, prepare

pytestmark = pytest.mark.usefixtures("one_thread")
SCORES = torch.tensor([[0.1, 0.3], [0.17, 0.2], [0.2, 0.3]])


@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_filters_needed_are_the_fewest_that_reach_the_fraction(chance):
    curve = FilterCurve([1, 4, 8], chance + SCORES, chance)
    assert curve.needed(0.8).tolist() == [4, 1] and curve.needed(1).tolist() == [8, 1]
    assert curve.mean_fraction_needed() == 2.5 / 8
    assert curve.fraction_reached().tolist() == [0.5, 1, 1]
    assert curve.fraction_of_full(1) == pytest.approx(0.8)
    assert curve.fraction_of_full(8) == 1
    assert [curve.largest_count(part) for part in (1, 0.9, 0.5, 0.1)] == [8, 4, 4, 1]


def test_curves_end_at_the_full_score():
    train, validation = prepare(
        small_net(), random_data(), [random_data(seed=3)], ["3"], quantile=0.05
    )
    segmented = net2vec.segment(train, "3", seed=2)
    assert net2vec.filter_counts(7) == [1, 2, 4, 7] and net2vec.filter_counts(8) == [1, 2, 4, 8]
    curve = net2vec.segmentation_curve(train, validation, "3", segmented, seed=2)
    assert curve.counts == [1, 2, 4, 7] and curve.scores.shape == (4, len(segmented))
    assert torch.allclose(curve.scores[-1], net2vec.set_iou(validation, "3", segmented), atol=1e-3)
    classified = net2vec.classify(train, "3", [0, 2, 3])
    curve = net2vec.classification_curve(train, validation, "3", classified)
    assert torch.allclose(curve.scores[-1], net2vec.balanced_accuracy(validation, "3", classified))
    assert curve.scores.shape == (4, 3) and curve.chance == 0.5


def test_sharing_is_the_mean_over_filters_that_are_best_for_any_concept():
    assert net2vec.mean_sharing(torch.tensor([0, 1, 3, 0])) == 2
