"""The schedule of the learning rate."""

from itertools import pairwise

import pytest

from cnnvis_lab.models.training import trainer
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer


def test_the_learning_rate_warms_up_and_then_decays_along_a_half_cosine_to_zero():
    factors = [trainer.lr_factor(i / 1000) for i in range(1001)]
    assert factors[0] == pytest.approx(0.04) and factors[-1] == pytest.approx(0, abs=1e-12)
    peak = factors.index(max(factors))
    assert peak == 150 and factors[peak] == 1
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(abs(a - b) for a, b in pairwise(factors)) < 0.01  # no jump
    assert trainer.lr_factor((0.15 + 1) / 2) == pytest.approx(0.5)


def test_the_learning_rate_follows_the_schedule_over_all_epochs():
    recipe = ClassifierRecipe("alexnet_mini", images=640, epochs=6, rate=0.1)
    rates = [recipe.lr_at(step) for step in range(60)]
    assert rates == [0.1 * trainer.lr_factor(step / 60) for step in range(60)]


def test_the_same_state_gives_the_same_bytes_of_a_checkpoint_whatever_its_name(tmp_path):
    training = ClassifierTrainer(ClassifierRecipe("alexnet_mini", images=8))
    for name in ("a.pt", "another.checkpoint.pt"):
        training.save(tmp_path / name)
    first, second = (file.read_bytes() for file in sorted(tmp_path.iterdir()))
    assert first == second
    training.resume(tmp_path / "a.pt")
