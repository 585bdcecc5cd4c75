"""Agreement with kernels and between starts, recipes, recognition, comparison with a dataset."""

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import image_metrics
from cnnvis_lab.core.statistics import TopK
from cnnvis_lab.methods import activation_maximization


@pytest.fixture(scope="module")
def mini() -> models.Model:
    return models.load("alexnet_mini")


def test_the_optimum_of_a_linear_unit_is_its_kernel(mini):
    agreement = activation_maximization.kernel_agreement(mini)
    assert agreement.layer == "CL1"
    assert agreement.patches.shape == (1, *mini.kernels().shape)
    assert agreement.correlation.min() >= 0.99
    saturation = agreement.saturation[agreement.by_saturation]
    assert (saturation.diff() <= 0).all()
    first, *_, last = agreement.examples
    assert [first, last] == [agreement.by_saturation[0], agreement.by_saturation[-1]]


@pytest.mark.parametrize("name", ["alexnet_mini", "zfnet_mini"])
def test_the_optimum_is_the_kernel_on_random_weights_too(name):
    model = models.load(name, weights="random", seed=3)
    assert activation_maximization.kernel_agreement(model).correlation.min() >= 0.99


def test_starts_of_a_linear_unit_agree(mini):
    agreement = activation_maximization.agreement_between_starts(mini, ["CL1:0", "CL1:5"], 2)
    assert agreement.shape == (2,) and agreement.min() > 0.98
    by_layer = activation_maximization.agreement_by_layer(
        mini, {"CL1": [0, 5, 7]}, 2, units_per_layer=2
    )
    assert by_layer == {"CL1": agreement.mean()}


def _rendering(images: torch.Tensor, **fields: object) -> activation_maximization.Rendering:
    count = len(images)
    values = {
        "targets": tuple(f"logits:{n}" for n in range(count)),
        "images": images,
        "activations": torch.arange(float(count)),
        "history": torch.zeros(10, count),
        "snapshots": {},
        "interrupted": False,
        "canvas": activation_maximization.full_canvas(images.shape[-1]),
    }
    return activation_maximization.Rendering(**(values | fields))


def test_the_step_of_first_recognition_is_the_median_over_images(mini):
    gray, dark = torch.full((1, 3, 128, 128), 0.5), torch.zeros(1, 3, 128, 128)
    names = [mini.card.classes[int(mini(image).argmax())] for image in (gray, dark)]
    snapshots = {0: torch.cat([gray, dark, dark]), 4: torch.cat([gray, gray, dark])}
    rendering = _rendering(torch.zeros(3, 3, 128, 128), snapshots=snapshots)
    assert names[0] != names[1]
    step = activation_maximization.first_recognized_step(mini, rendering, [names[0]] * 3)
    assert step == 0.4


def test_the_largest_increase_is_where_it_ends():
    values = {"CL1": 1.0, "CL2": 2.0, "FL1": 7.0, "FL2": 8.0}
    assert activation_maximization.increases_most_at(values, "FL1") is True
    assert activation_maximization.increases_most_at(values, "FL2") is False
    assert activation_maximization.increases_most_at(values, "CL5") is None
    assert activation_maximization.increases_most_at({"FL1": 1.0}, "FL1") is None


def test_recipes_are_compared_on_the_given_classes(mini):
    noise, flat = torch.rand(3, 3, 128, 128), torch.full((3, 3, 128, 128), 0.5)
    renderings = {"none": _rendering(noise), "default": _rendering(flat)}
    classes = mini.card.classes[:2]
    result = activation_maximization.compare_recipes(renderings, mini, classes)
    assert all(len(images) == 2 for images in result.images.values())
    assert result.activation == {"none": 0.5, "default": 0.5}
    expected = image_metrics.high_frequency_fraction(noise[:2]).mean()
    assert result.high_frequency == {"none": pytest.approx(float(expected)), "default": 0}
    recognized = result.recognized
    gain = recognized["default"] - recognized["none"]
    assert result.recognition_gain("default", over="none") == gain
    unknown = activation_maximization.compare_recipes(renderings, mini, ["no class"])
    assert unknown.recognized == {} and unknown.recognition_gain("default", over="none") is None


def test_companions_are_not_measured_without_scenes_or_without_such_classes(mini):
    images = _rendering(torch.rand(2, 3, 128, 128))
    for classes, scenes in ((["phone", "cat"], 0), (["car", "cat"], 8)):
        rates = activation_maximization.companion_rates(
            mini, mini, images, classes, starts=1, scenes=scenes, steps=1
        )
        assert rates.mean_difference() is None and str(rates) == ""


def test_activations_are_compared_with_each_units_maximum():
    top = TopK(1)
    top.update(torch.tensor([[0.0, 2.0, -1.0, 3.0]]), torch.tensor([0]))
    rendering = _rendering(
        torch.zeros(2, 3, 8, 8), targets=("CL2:1", "CL2:3"), activations=torch.tensor([2.5, 2.5])
    )
    fractions = activation_maximization.fraction_above_dataset_max({"CL2": rendering}, {"CL2": top})
    assert fractions == {"CL2": 0.5}
