"""The quality of generated images, on cases with known values and on real images."""

import math

import pytest
import torch
from torch import nn

from cnnvis_lab import models
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
    canvas = activation_maximization.full_canvas(16)
    return activation_maximization.Rendering(
        targets, images, zeros, zeros[None], {}, False, canvas, zeros[:, None]
    )


def test_real_images_have_a_distance_of_zero_and_are_recognized_by_their_brightness(
    classifier, real
):
    classes = [CLASSES[int(score.argmax())] for score in classifier(real)]
    quality = deep_generator.evaluate(classifier, real, torch.arange(6.0), classes, real)
    assert quality.distance == pytest.approx(0, abs=1e-3)
    assert quality.recognized == 1 and quality.activation == 2.5
    others = [CLASSES[1 - CLASSES.index(name)] for name in classes]
    quality = deep_generator.evaluate(classifier, real, torch.zeros(6), others, real)
    assert quality.recognized == 0


def test_noise_is_less_natural_and_farther_than_real_images(classifier, real):
    noise = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    of_noise, of_real = (
        deep_generator.evaluate(classifier, images, torch.zeros(6), ["dark"] * 6, real)
        for images in (noise, real)
    )
    assert of_noise.naturalness < of_real.naturalness
    assert of_noise.distance > 1 > of_real.distance


def test_recognition_is_nan_if_the_classifier_does_not_have_the_classes(classifier, real):
    quality = deep_generator.evaluate(classifier, real, torch.zeros(6), ["fish"] * 6, real)
    assert math.isnan(quality.recognized) and not math.isnan(quality.distance)


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
