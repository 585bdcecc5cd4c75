"""Trainings are compared by their counts; dissecting during training does not change it."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from cnnvis_lab import data, models
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


def _table(*units_of: str, layer: str = "CL2") -> dissection.LayerTable:
    """A table of four units: "ab" is a unit with an IoU of 0.05 for the concept a, 0.03 for b."""
    concepts = tuple(data.Label(n, name, "object", 0) for n, name in enumerate("abc"))
    iou = torch.zeros(len(units_of), 3, dtype=torch.int64)
    for unit, names in enumerate(units_of):
        for name, value in zip(names, (5, 3), strict=False):
            iou[unit, "abc".index(name)] = value
    pixels = torch.full((3,), 100)
    return dissection.LayerTable(
        layer, concepts, torch.ones(len(iou)), iou, iou, pixels, pixels, 0.04, False, 1,
        torch.zeros(len(iou), 0), torch.zeros(len(iou), 0, dtype=torch.int64),
    )  # fmt: skip


def _comparison() -> dissection.NetworkComparison:
    tables = {
        "net": _table("a", "b"),
        "net_repeat0": _table("a", "ab", "c"),
        "net_repeat1": _table("a"),
        "net_copy": _table("a", "b", "b"),
        "random": _table("", "a"),
    }
    return dissection.NetworkComparison(tables, {"net": 0.9}, dict.fromkeys(tables, 0.5))


def test_networks_are_compared_at_every_iou_threshold():
    compared = _comparison()
    sweep = compared.threshold_sweep([0.02, 0.05, 0.06])
    assert {name: values.tolist() for name, values in sweep.items()} == {
        "net, copy": [2, 2, 0],
        "random": [1, 1, 0],
        "mean of the starts": [1.5, 1.5, 0],
    }
    assert compared.name == "net" and compared.short_name("net_repeat1") == "seed 1"
    assert [*compared.counts.of().values()] == [2, 2, 1, 2, 1]
    assert compared.trainings.starts == [2, 1]
    assert compared.order_agreement() == (1 + 0.5) / 2
    assert compared.transfer_correlation() is None
    varied = replace(compared, transfer=dict(zip(compared.tables, [2, 2, 1, 2, 1], strict=True)))
    assert math.isclose(varied.transfer_correlation(), 1)
    assert replace(varied, transfer={}).transfer_correlation() is None


def test_each_network_is_dissected_in_its_last_convolution():
    networks = {name: models.load(name) for name in ("alexnet_mini", "zfnet_mini")}
    networks["random"] = _view()
    compared = dissection.compare_networks(networks, _scenes(HELD_OUT_SEED), **OPTIONS)
    for name, table in compared.tables.items():
        expected = dissect(networks[name], _scenes(HELD_OUT_SEED), ["CL5.relu"], **OPTIONS)
        assert torch.equal(table.iou, expected["CL5.relu"].iou)
    assert compared.accuracies.keys() == {"alexnet_mini", "zfnet_mini"}
    assert compared.transfer.keys() == networks.keys()
    lower = dissection.compare_networks(networks, _scenes(HELD_OUT_SEED), "CL1.relu", **OPTIONS)
    assert {table.layer for table in lower.tables.values()} == {"CL1.relu"}


def test_a_short_recipe_has_no_batch_normalization():
    options = {"images": 16, "epochs": 2, "rate": 1e-3, "seed": 5}
    recipe = dissection.short_recipe("alexnet_mini", **options)
    assert recipe and {name: getattr(recipe, name) for name in options} == options
    assert not recipe.batch_norm and not recipe.folded
    assert dissection.short_recipe("resnet18", **options) is None


def test_other_architectures_are_added_to_shipped_networks_only():
    assert dissection.training_conditions("alexnet_mini", 1)[-1] == "zfnet_mini"
    assert dissection.training_conditions("resnet18", 1) == []


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
