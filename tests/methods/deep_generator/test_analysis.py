"""The quality of generated images, on cases with known values and on real images."""

import math

import pytest
import torch
from support.tensor_images import TensorImages
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import NameNotFound
from cnnvis_lab.core.statistics import TopK
from cnnvis_lab.methods import activation_maximization, deep_generator

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("dark", "bright")


class Brightness(nn.Module):
    """Scores an image's brightness against its darkness."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.last(self.second(self.first(images)).mean((2, 3)))  # so that the layers run
        light = images.mean((1, 2, 3))
        return torch.stack([-light, light], 1)


@pytest.fixture(scope="module")
def classifier() -> models.Model:
    torch.manual_seed(0)
    return models.load(Brightness(), input_size=16, classes=CLASSES)


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    brightness = torch.linspace(0.2, 1, 6).view(-1, 1, 1, 1)
    return torch.rand(6, 3, 16, 16, generator=generator) * brightness


def _rendering(images: torch.Tensor, units: list[int]) -> activation_maximization.Rendering:
    targets, zeros = tuple(f"logits:{unit}" for unit in units), torch.zeros(len(units))
    numbers = torch.arange(float(len(units)))
    canvas = activation_maximization.full_canvas(16)
    return activation_maximization.Rendering(
        targets, images, numbers, zeros[None], {}, False, canvas, zeros[:, None]
    )


def _quality(
    classifier: models.Model | None, images: torch.Tensor, classes: list[str], real: torch.Tensor
) -> deep_generator.GeneratedQuality:
    rendering = _rendering(images, [0] * len(images))
    return deep_generator.compare(classifier, {"way": rendering}, classes, real).quality["way"]


def test_real_images_have_a_distance_of_zero_and_are_recognized_by_their_brightness(
    classifier, real
):
    classes = [CLASSES[int(score.argmax())] for score in classifier(real)]
    quality = _quality(classifier, real, classes, real)
    assert quality.distance == pytest.approx(0, abs=1e-3)
    assert quality.recognized == 1 and quality.activation == 2.5
    others = [CLASSES[1 - CLASSES.index(name)] for name in classes]
    assert _quality(classifier, real, others, real).recognized == 0


def test_noise_is_less_natural_and_farther_than_real_images(classifier, real):
    noise = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    of_noise, of_real = (
        _quality(classifier, images, ["dark"] * 6, real) for images in (noise, real)
    )
    assert of_noise.naturalness < of_real.naturalness
    assert of_noise.distance > 1 > of_real.distance


def test_recognition_is_nan_if_the_classifier_does_not_have_the_classes(classifier, real):
    quality = _quality(classifier, real, ["fish"] * 6, real)
    assert math.isnan(quality.recognized) and not math.isnan(quality.distance)


def test_without_an_independent_classifier_only_the_images_themselves_are_measured(real):
    quality, images = _quality(None, real, ["fish"] * 6, real), _rendering(real, [1] * 6)
    assert math.isnan(quality.recognized) and math.isnan(quality.distance)
    assert quality.naturalness > 0
    assert deep_generator.recognition_gain(None, images, images, ["fish"] * 6) is None


def _table() -> deep_generator.QualityTable:
    values = {"a": (4.0, 0.5, 2.0, math.nan), "b": (2.0, 0.25, 3.0, 0.5), "c": (1, 0, 2.5, 1.0)}
    quality = {way: deep_generator.GeneratedQuality(*map(float, v)) for way, v in values.items()}
    return deep_generator.QualityTable(CLASSES, {}, quality)


def test_ways_are_compared_by_difference_ratio_and_margin():
    table = _table()
    assert table.difference("distance", "b", "a") == 1 and table.ratio("activation", "a", "b") == 2
    assert table.margin("distance", "a", ["b", "c", "unknown"]) == 0.5


def test_ways_that_are_missing_or_not_measured_have_no_difference():
    table = _table()
    assert table.difference("distance", "a", "unknown") is None
    assert table.difference("recognized", "a", "b") is None
    assert table.margin("distance", "a", []) is None


def test_only_the_images_of_the_compared_classes_count(classifier, real):
    renderings = {n: _rendering(real[:n], [0] * n) for n in (2, 6)}
    table = deep_generator.compare(
        classifier, {str(n): r for n, r in renderings.items()}, CLASSES, real
    )
    assert table.difference("naturalness", "6", "2") == 0


def test_more_images_are_recognized_if_all_show_their_class(classifier, real):
    bright, dark = _rendering(0 * real + 1, [1] * 6), _rendering(-real, [1] * 6)
    gain = deep_generator.recognition_gain(classifier, bright, dark, ["bright"] * 6)
    assert gain == 1
    assert deep_generator.recognition_gain(classifier, bright, dark, ["fish"] * 6) is None


def test_class_probabilities_are_those_of_each_images_intended_class(classifier, real):
    units = [0, 1, 1, 0, 1, 0]
    probabilities = deep_generator.class_probabilities(classifier, _rendering(real, units))
    for image, unit, probability in zip(real, units, probabilities, strict=True):
        assert probability == pytest.approx(float(classifier(image[None]).softmax(1)[0, unit]))


def test_a_linear_increase_reaches_half_of_its_activation_after_half_of_the_steps():
    line = torch.linspace(0, 1, 11)[:, None]
    assert deep_generator.saturation(line) == pytest.approx(0.5)
    assert deep_generator.saturation(torch.cat([line, torch.ones(11, 1)])) == pytest.approx(1)
    assert deep_generator.saturation(line, fraction=0.9) == pytest.approx(0.9)


def test_a_blurred_image_is_less_sharp():
    image = torch.rand(1, 3, 8, 8)
    images = {"sharp": image, "blurred": image / 2}
    assert deep_generator.sharpness_ratio(images, "sharp", "blurred") == pytest.approx(2, rel=1e-4)
    assert deep_generator.sharpness_ratio(images, "sharp") is None


def test_samples_are_as_different_as_real_images_or_identical(classifier, real):
    samples = {"same": _rendering(real[:1].expand(6, -1, -1, -1), [1] * 6)}
    samples["real"] = _rendering(real, [1] * 6)
    top, dataset = TopK(6), TensorImages(real)
    top.update(classifier(real), torch.arange(6))
    sets = deep_generator.compare_samples(
        classifier, samples, {0.5: samples["real"]}, top, dataset, real
    )
    assert sets.distances == pytest.approx({"same": 0, "real": 1, "real images": 1}, abs=1e-4)
    assert sets.distance_ratio("same", "real") == pytest.approx(0, abs=1e-4)
    brightest = classifier(real)[:, 1].argsort(descending=True)
    assert torch.equal(sets.images["real images"], real[brightest])
    expected = deep_generator.class_probabilities(classifier, samples["real"]).mean()
    assert sets.probabilities == {0.5: float(expected)}


def test_targets_of_classes_are_in_the_order_of_the_classes(classifier):
    assert deep_generator.class_targets(classifier, ["bright", "dark"]) == ["logits:1", "logits:0"]
    with pytest.raises(NameNotFound, match="did you mean dark"):
        deep_generator.class_targets(classifier, ["dork"])


def test_other_networks_have_the_classes(classifier):
    model = models.load("alexnet_mini")
    assert [*deep_generator.others_with_classes(model, ["car"])] == ["zfnet_mini"]
    assert deep_generator.others_with_classes(classifier, CLASSES) == {}
    assert deep_generator.others_with_classes(model, ["car"], ["alexnet_mini"]) == {}
