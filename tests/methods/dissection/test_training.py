"""Trainings are compared by their counts; dissecting during training does not change it."""

import math
from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core import InputError
from cnnvis_lab.data.scenes import HELD_OUT_SEED, TRAIN_SEED, SceneSet
from cnnvis_lab.methods import dissection
from cnnvis_lab.methods.dissection import dissect
from cnnvis_lab.models.training import classifier
from cnnvis_lab.models.training.classifier import ClassifierRecipe, ClassifierTrainer

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = ClassifierRecipe("alexnet_mini", images=16, epochs=2, batch=8)
OPTIONS = {"min_images": 2, "convention": "lite"}


def test_conditions_are_the_shipped_networks_of_that_name_in_the_order_of_the_recipes(monkeypatch):
    names = ["a", "a_wide", "a_repeat1", "a_tall", "ab", "b_a"]
    monkeypatch.setattr(models, "shipped", lambda: dict.fromkeys(names))
    monkeypatch.setattr(classifier, "RECIPES", dict.fromkeys(["a_repeat1", "a_wide", "a"]))
    assert dissection.training_conditions("a") == ["a_repeat1", "a_wide", "a_tall"]
    assert dissection.training_conditions("b") == ["b_a"] and not dissection.training_conditions(
        "ab"
    )


def _counts(texture: int, thing: int) -> dict[str, int]:
    return {"texture": texture, "object": thing, "part": 0}


PLANTED = {
    "net": _counts(40, 8),
    "net_repeat0": _counts(4, 8),
    "net_repeat1": _counts(6, 6),
    "net_repeat2": _counts(2, 10),
    "net_no_dropout": _counts(7, 5),
    "net_batch_norm": _counts(3, 3),
    "net_half_width": _counts(0, 9),
    "other": _counts(50, 50),
}


def test_each_training_is_compared_with_the_mean_over_initializations():
    comparison = dissection.compare_trainings("net", PLANTED)
    assert comparison.starts == [12, 12, 12] and comparison.relative_range == 0
    assert comparison.no_dropout == (7 - 4) - (5 - 8)
    assert comparison.batch_norm == 6 / 12 and comparison.half_width == 9 / 12
    uneven = dissection.compare_trainings("net", PLANTED | {"net_repeat2": _counts(0, 6)})
    assert uneven.starts == [12, 12, 6] and uneven.relative_range == 6 / 10
    assert math.isclose(uneven.batch_norm, 0.6)


def test_missing_networks_are_not_compared_and_zero_concepts_are_not_missing():
    alone = dissection.compare_trainings("net", {"net": PLANTED["net"], "other": PLANTED["other"]})
    assert alone == ([48], None, None, None, None)
    no_concepts = dissection.compare_trainings("net", PLANTED | {"net_batch_norm": _counts(0, 0)})
    assert no_concepts.batch_norm == 0
    none = dissection.compare_trainings(
        "net", {"net": _counts(0, 0), "net_half_width": _counts(0, 1)}
    )
    assert none.half_width is None


@cache
def _scenes(seed: int) -> SceneSet:
    scenes = SceneSet(seed, 16, labelled=True)
    scenes.batch(range(16))
    return scenes


def _view() -> models.Model:
    return models.load("alexnet_mini", weights="random")


def _dissected(net: torch.nn.Module):
    view = _view()
    view.net.load_state_dict(net.state_dict())
    return dissect(view, _scenes(HELD_OUT_SEED), ["CL2.relu"], **OPTIONS)["CL2.relu"]


def test_dissecting_during_training_does_not_change_the_training():
    torch.manual_seed(5)
    tables = dissection.during_training(
        _view(),
        RECIPE,
        _scenes(HELD_OUT_SEED),
        "CL2.relu",
        [4, 0, 2],
        train_data=_scenes(TRAIN_SEED),
        **OPTIONS,
    )
    assert [*tables] == [0, 2, 4]
    plain = ClassifierTrainer(RECIPE, _scenes(TRAIN_SEED))
    for table in tables.values():
        if table is not tables[0]:
            list(plain.epoch_losses())  # two steps
        expected = _dissected(plain.net)
        for name in ("thresholds", "intersection", "mask_pixels"):
            assert torch.equal(getattr(table, name), getattr(expected, name))
    assert not torch.equal(tables[0].intersection, tables[4].intersection)
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    dissection.during_training(
        _view(),
        RECIPE,
        _scenes(HELD_OUT_SEED),
        "CL2.relu",
        [1],
        train_data=_scenes(TRAIN_SEED),
        **OPTIONS,
    )
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("at", [[], [-1, 2], [5]])
def test_steps_outside_the_training_are_refused(at):
    with pytest.raises(InputError, match="expected some from 0 to 4"):
        dissection.during_training(_view(), RECIPE, _scenes(HELD_OUT_SEED), "CL2.relu", at)
