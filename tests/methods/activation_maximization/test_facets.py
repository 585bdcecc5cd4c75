"""Facets start at the means of clusters, and a reward makes images dissimilar."""

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import InputError, image_metrics
from cnnvis_lab.methods import activation_maximization


def test_facets_start_at_the_means_of_planted_clusters():
    features = torch.tensor([[0.0, 0], [0, 1], [10, 10], [10, 11], [-9, 5], [-9, 6]])
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 4, 4) / 6
    starts = activation_maximization.facet_starts(features, images, 3)
    means = sorted(starts.mean((1, 2, 3)).tolist())
    assert means == pytest.approx([0.5 / 6, 2.5 / 6, 4.5 / 6])
    with pytest.raises(InputError, match="1 to 6"):
        activation_maximization.facet_starts(features, images, 7)


def test_a_cluster_that_stays_empty_starts_at_one_of_the_images():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 4, 4) / 4
    with pytest.warns(UserWarning, match="empty"):
        starts = activation_maximization.facet_starts(torch.ones(4, 2), images, 2)
    assert starts.isfinite().all()


def test_there_is_an_image_for_each_cluster_and_each_diverse_start():
    model = models.load("alexnet_mini")
    images, features = torch.rand(3, 3, 128, 128), torch.eye(3)
    found = activation_maximization.render_facets(
        model, "logits:0", images, features, 5, steps=2, scope="channel"
    )
    assert found.starts.shape == found.diverse.images.shape == images.shape
    assert found.from_starts.targets == ("logits:0",) * 3


def test_a_reward_for_dissimilarity_lowers_the_correlation_of_facets():
    model = models.load("alexnet_mini")
    images, features = torch.rand(2, 3, 128, 128), torch.eye(2)
    correlations = []
    for diversity in (0.0, 200.0):
        found = activation_maximization.render_facets(
            model, "logits:0", images, features, 2, steps=8, diversity=diversity
        )
        pairs = image_metrics.pairwise_correlation(found.diverse.images[None] - 0.5)
        correlations.append(float(pairs))
    assert correlations[1] < correlations[0]
