"""Agreement with kernels and between starts; facets start at the means of clusters."""

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.methods import activation_maximization


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


def test_the_optimum_of_a_linear_unit_is_its_kernel(mini):
    patches, agreement = activation_maximization.kernel_agreement(mini)
    assert patches.shape == (1, *mini.kernels().shape)
    assert agreement.min() >= 0.99


@pytest.mark.parametrize("name", ["alexnet_mini", "zfnet_mini"])
def test_the_optimum_is_the_kernel_on_random_weights_too(name):
    model = models.load(name, weights="random", seed=3)
    assert activation_maximization.kernel_agreement(model)[1].min() >= 0.99


def test_starts_of_a_linear_unit_agree(mini):
    agreement = activation_maximization.agreement_between_starts(mini, ["CL1:0", "CL1:5"], 2)
    assert agreement.shape == (2,) and agreement.min() > 0.98


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


def test_the_step_of_first_recognition_is_the_median_over_images(mini):
    gray, dark = torch.full((1, 3, 128, 128), 0.5), torch.zeros(1, 3, 128, 128)
    names = [mini.card.classes[int(mini(image).argmax())] for image in (gray, dark)]
    rendering = activation_maximization.Rendering(
        ("logits:0", "logits:1", "logits:2"),
        torch.zeros(3, 3, 128, 128),
        torch.zeros(3),
        torch.zeros(10, 3),
        {0: torch.cat([gray, dark, dark]), 4: torch.cat([gray, gray, dark])},
        False,
        activation_maximization.full_canvas(128),
    )
    assert names[0] != names[1]
    step = activation_maximization.first_recognized_step(mini, rendering, [names[0]] * 3)
    assert step == 0.4


def test_the_largest_increase_is_where_it_ends():
    assert activation_maximization.largest_increase([1, 2, 7, 8]) == 2
