"""What is said of drawn pictures: numbers by hand, and of real pictures themselves."""

import math

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.methods import deep_generator
from cnnvis_lab.methods.deep_generator import Rendering

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("dark", "bright")


class Gray(nn.Module):
    """Scores a picture's brightness against its darkness."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.last(self.second(self.first(images)).mean((2, 3)))  # so that its layers are seen
        light = images.mean((1, 2, 3))
        return torch.stack([-light, light], 1)


@pytest.fixture(scope="module")
def judge() -> models.Model:
    torch.manual_seed(0)
    return models.load(Gray(), input_size=16, classes=CLASSES)


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 16, 16, generator=drawn) * torch.linspace(0.2, 1, 6).view(-1, 1, 1, 1)


def _drawing(images: torch.Tensor, units: list[int]) -> Rendering:
    targets, zeros = tuple(f"logits:{unit}" for unit in units), torch.zeros(len(units))
    return Rendering(targets, images, zeros[:, None], zeros, zeros[None], {}, False)


def test_real_pictures_are_at_no_distance_and_named_by_their_brightness(judge, real):
    named = [CLASSES[int(score.argmax())] for score in judge(real)]
    said = deep_generator.evaluate(judge, real, torch.arange(6.0), named, real)
    assert said.distance == pytest.approx(0, abs=1e-3)
    assert said.recognised == 1 and said.activation == 2.5
    wrong = [CLASSES[1 - CLASSES.index(name)] for name in named]
    assert deep_generator.evaluate(judge, real, torch.zeros(6), wrong, real).recognised == 0


def test_noise_is_less_natural_and_farther_than_real_pictures(judge, real):
    noise = (torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    said, own = (
        deep_generator.evaluate(judge, images, torch.zeros(6), ["dark"] * 6, real)
        for images in (noise, real)
    )
    assert said.naturalness < own.naturalness and said.distance > 1 > own.distance


def test_a_judge_without_the_classes_says_nothing_of_them(judge, real):
    said = deep_generator.evaluate(judge, real, torch.zeros(6), ["fish"] * 6, real)
    assert math.isnan(said.recognised)
    assert "recognised" not in str(said) and "distance" in str(said)


def test_probabilities_are_those_of_each_pictures_own_class(judge, real):
    units = [0, 1, 1, 0, 1, 0]
    found = deep_generator.class_probabilities(judge, _drawing(real, units))
    for image, unit, probability in zip(real, units, found, strict=True):
        assert probability == pytest.approx(float(judge(image[None]).softmax(1)[0, unit]))


def test_a_steady_rise_is_half_settled_half_way():
    line = torch.linspace(0, 1, 11)[:, None]
    assert deep_generator.saturation(line) == pytest.approx(0.5)
    assert deep_generator.saturation(torch.cat([line, torch.ones(11, 1)])) == pytest.approx(1)
    assert deep_generator.saturation(line, share=0.9) == pytest.approx(0.9)
