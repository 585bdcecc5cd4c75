"""Comparisons of methods, on metrics with known differences."""

import pytest
import torch
from torch import Tensor

from cnnvis_lab import models
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import inversion

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ("CL1", "CL2", "FL1")


def _metrics(*values: float, layers: tuple[str, ...] = LAYERS) -> inversion.ReconstructionMetrics:
    is_convolutional = torch.tensor([layer.startswith("C") for layer in layers])
    return inversion.ReconstructionMetrics(layers, is_convolutional, *torch.tensor([values] * 6))


def _comparison(**others: inversion.ReconstructionMetrics) -> inversion.Comparison:
    methods = {
        "this project": _metrics(0.2, 0.4, 0.8),
        "2015": _metrics(0.5, 0.3, 0.9),
        "2016, C = 1": _metrics(0.9, 0.9, 0.9),
        "2016, C = 100": _metrics(0.4, 0.5, 0.6),
    }
    return inversion.Comparison({**methods, **others})


def test_the_lead_is_over_the_best_of_the_others():
    comparison = _comparison(decoder=_metrics(0.1, 0.4, 0.2))
    assert comparison.lead("decoder").tolist() == pytest.approx([0.1, -0.1, 0.4])
    assert comparison.smallest_lead("decoder") == pytest.approx(-0.1)
    assert comparison.lead_in_fully_connected("decoder") == pytest.approx(0.4)


def test_a_lead_cannot_be_measured_without_all_layers():
    partial = _metrics(0.1, 0.4, layers=LAYERS[:2])
    for comparison in (_comparison(), _comparison(decoder=partial)):
        assert comparison.smallest_lead("decoder") is None
        assert comparison.lead_in_fully_connected("decoder") is None


def test_differences_decreases_and_orders():
    comparison = _comparison(decoder=_metrics(0.3, 0.2, 0.1))
    difference = comparison.difference("pixel", "2016, C = 1", "2016, C = 100")
    assert difference.tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert comparison.decreases_with_weight("feature") == pytest.approx([0.4])
    assert comparison.fraction_increasing("pixel", ["this project", "absent"]) == 1
    assert comparison.fraction_increasing("pixel", ["this project", "decoder"]) == 0
    errors = comparison.pixel_errors(["2015", "absent"])
    assert errors == pytest.approx(
        {f"{n} pixel error, 2015": e for n, e in zip(LAYERS, (0.5, 0.3, 0.9), strict=True)}
    )


def test_only_the_given_images_are_compared():
    images = SceneSet(HELD_OUT_SEED, 3).batch(range(3))
    model = models.load("alexnet_mini", weights="random")
    both = torch.stack([1 - images, images])[:, :, None]
    errors = torch.zeros(2, 3, 1)
    exact = inversion.Inversion(("CL2", "CL1"), both, errors, errors[None], False).select(["CL1"])
    assert exact.steps.shape == (1, 3, 1) and torch.equal(exact["CL1"], images)
    wrong_last = {"CL1": torch.stack([images[0], images[1], images[0]]), "CL2": images}
    comparison = inversion.compare(model, {"this project": exact}, wrong_last, images[:2], 1.0)
    assert comparison["up-convolution"].pixel.tolist() == [0]
    assert comparison["this project"].feature.tolist() == pytest.approx([0], abs=1e-6)
    assert comparison["this project"].is_convolutional.tolist() == [True]
    other = {"CL2": images}  # of a layer that the inversions do not have
    without = inversion.compare(model, {"this project": exact}, other, images[:2], 1.0)
    assert list(without.methods) == ["this project"]


def _flat_inversion(images: Tensor) -> inversion.Inversion:
    return inversion.Inversion(
        ("CL1",), images[None, None, None], torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 1), False
    )


def test_prior_effects_compare_the_weight_of_about_the_same_roughness():
    noise = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    isolated = torch.zeros(3, 32, 32)
    isolated[:, 8::16, 8::16] = 1.0
    results = {
        name: _flat_inversion(0.5 + image)
        for name, image in {
            "weight 1": 0.4 * noise,
            "weight 10": 0.01 * noise,
            "beta 1": 0.5 * isolated,
        }.items()
    }
    effects = inversion.prior_effects(results)
    assert effects.roughness.shape == effects.spikes.shape == (3, 1)
    assert effects.largest_increase() < 0
    assert effects.equally_smooth() == "weight 10"
    assert effects.spike_ratio() > 5
