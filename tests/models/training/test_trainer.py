"""The schedule of the learning rate."""

from itertools import pairwise

import pytest

from cnnvis_lab.models.training import trainer
from cnnvis_lab.models.training.classifier import ClassifierRecipe


def test_the_step_size_warms_up_then_falls_along_a_half_cosine_to_nothing():
    shares = [trainer.lr_factor(i / 1000) for i in range(1001)]
    assert shares[0] == pytest.approx(0.04) and shares[-1] == pytest.approx(0, abs=1e-12)
    peak = shares.index(max(shares))
    assert peak == 150 and shares[peak] == 1
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(shares)) < 0.01  # no jump
    assert trainer.lr_factor((0.15 + 1) / 2) == pytest.approx(0.5)


def test_the_step_size_follows_the_schedule_over_all_epochs():
    recipe = ClassifierRecipe("alexnet_mini", images=640, epochs=6, rate=0.1)
    rates = [recipe.lr_at(step) for step in range(60)]
    assert rates == [0.1 * trainer.lr_factor(step / 60) for step in range(60)]
