"""Trainings are compared as they are counted, and dissected on the way without being disturbed."""

import math
from functools import cache

import pytest
import torch

from cnnvis_lab import models
from cnnvis_lab.core.errors import InputError
from cnnvis_lab.data.scenes.sets import HELD_OUT_SEED, TRAIN_SEED, PictureSet
from cnnvis_lab.methods import dissection_trainings as trainings
from cnnvis_lab.methods.dissection import dissect
from cnnvis_lab.models import training
from cnnvis_lab.models.training import Recipe, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = Recipe("alexnet_mini", pictures=16, epochs=2, batch=8)
KNOBS = {"least_pictures": 2, "convention": "lite"}


def test_conditions_are_the_shipped_networks_of_that_name_in_the_order_of_the_recipes(monkeypatch):
    names = ["a", "a_wide", "a_repeat1", "a_tall", "ab", "b_a"]
    monkeypatch.setattr(models, "shipped", lambda: dict.fromkeys(names))
    monkeypatch.setattr(training, "RECIPES", dict.fromkeys(["a_repeat1", "a_wide", "a"]))
    assert trainings.conditions("a") == ["a_repeat1", "a_wide", "a_tall"]
    assert trainings.conditions("b") == ["b_a"] and not trainings.conditions("ab")


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


def test_each_training_is_set_against_the_mean_over_the_starts():
    found = trainings.compare("net", PLANTED)
    assert found.starts == [12, 12, 12] and found.spread == 0
    assert found.no_dropout == (7 - 4) - (5 - 8)
    assert found.batch_norm == 6 / 12 and found.half_width == 9 / 12
    uneven = trainings.compare("net", PLANTED | {"net_repeat2": _counts(0, 6)})
    assert uneven.starts == [12, 12, 6] and uneven.spread == 6 / 10
    assert math.isclose(uneven.batch_norm, 0.6)


def test_what_was_not_trained_is_not_compared_and_nothing_found_is_not_nothing_trained():
    alone = trainings.compare("net", {"net": PLANTED["net"], "other": PLANTED["other"]})
    assert alone == ([48], None, None, None, None)
    blind = trainings.compare("net", PLANTED | {"net_batch_norm": _counts(0, 0)})
    assert blind.batch_norm == 0
    none = trainings.compare("net", {"net": _counts(0, 0), "net_half_width": _counts(0, 1)})
    assert none.half_width is None


@cache
def _world(seed: int) -> PictureSet:
    pictures = PictureSet(seed, 16, labelled=True)
    pictures.batch(range(16))
    return pictures


def _view() -> models.Model:
    return models.load("alexnet_mini", weights="random")


def _dissected(net: torch.nn.Module):
    view = _view()
    view.net.load_state_dict(net.state_dict())
    return dissect(view, _world(HELD_OUT_SEED), ["CL2.relu"], **KNOBS)["CL2.relu"]


def test_a_training_dissected_on_the_way_is_the_one_nobody_looks_at():
    torch.manual_seed(5)
    tables = trainings.along_training(
        _view(),
        RECIPE,
        _world(HELD_OUT_SEED),
        "CL2.relu",
        [4, 0, 2],
        taught=_world(TRAIN_SEED),
        **KNOBS,
    )
    assert [*tables] == [0, 2, 4]
    plain = Trainer(RECIPE, _world(TRAIN_SEED))
    for found in tables.values():
        if found is not tables[0]:
            list(plain.epoch_losses())  # two steps
        wanted = _dissected(plain.net)
        for name in ("thresholds", "both", "active"):
            assert torch.equal(getattr(found, name), getattr(wanted, name))
    assert not torch.equal(tables[0].both, tables[4].both)
    torch.manual_seed(5)
    first = torch.rand(3)
    torch.manual_seed(5)
    trainings.along_training(
        _view(), RECIPE, _world(HELD_OUT_SEED), "CL2.relu", [1], taught=_world(TRAIN_SEED), **KNOBS
    )
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("at", [[], [-1, 2], [5]])
def test_steps_outside_the_training_are_refused(at):
    with pytest.raises(InputError, match="expected some from 0 to 4"):
        trainings.along_training(_view(), RECIPE, _world(HELD_OUT_SEED), "CL2.relu", at)
