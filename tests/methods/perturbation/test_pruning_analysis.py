"""Rankings of maps are as planted; removing maps equals setting them to zero."""

from functools import partial

import pytest
import torch
from support import small_chain
from support.masking import mask_units

from cnnvis_lab.core import InputError
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import PruningCurves, Rankings, pruning, pruning_analysis
from cnnvis_lab.methods.perturbation.pruning_analysis import (
    prune_jointly,
    prune_to_fraction,
    pruning_curve,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_rankings_agree_with_the_planted_importance_of_maps(images):
    model = small_chain.model()
    model.net.conv2.weight[4], model.net.conv2.bias[4] = 0, 0  # an inactive map
    model.net.classes.weight[:, 3] = 100 * torch.tensor([1.0, -1, 1, -1]).view(4, 1, 1)
    predicted = model(images).argmax(1)
    layers, decoders = {"a": "relu2", "b": "conv1"}, {"relu2": small_chain.decoder()}
    ranked = perturbation.rankings(
        model, layers, images, predicted, decoders=decoders, random_orders=2
    )
    orders = ranked.orders["a"]
    assert list(orders) == ["reconstruction", "loss", "activation", "magnitude", "random"]
    assert all(sorted(order) == [*range(6)] for own in orders.values() for order in own)
    assert orders["activation"][0][0] == 4 and orders["magnitude"][0][0] == 4
    assert orders["loss"][0][-1] == 3
    assert len(orders["random"]) == 2 and orders["random"][0] != orders["random"][1]
    assert "reconstruction" not in ranked.orders["b"] and len(ranked.orders["b"]["loss"][0]) == 8
    assert ranked.joint_criteria(model) == ["loss", "activation", "magnitude", "random"]


def test_a_curve_is_the_mean_over_its_orders(images):
    model, orders = small_chain.model(), [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]]
    curve = partial(
        pruning_curve,
        model,
        "relu2",
        fractions=[0, 0.5, 1],
        images=images,
        classes=small_chain.CLASSES,
    )
    each, both = [curve([order]) for order in orders], curve(orders)
    for a, b, mean in zip(*each, both, strict=True):
        assert mean.accuracy == pytest.approx((a.accuracy + b.accuracy) / 2)
        assert (mean.fraction, mean.parameters) == (a.fraction, a.parameters)


def test_maps_that_cannot_be_removed_are_set_to_zero_with_the_same_accuracy(images, monkeypatch):
    model, order = small_chain.model(), [[3, 1, 5, 0, 2, 4]]
    predicted = model(images).argmax(1)
    pruned = pruning_curve(model, "relu2", order, [0, 0.3, 0.6, 1], images, predicted)
    monkeypatch.setattr(pruning_analysis, "is_prunable", lambda model, layer: False)
    masked = pruning_curve(model, "relu2", order, [0, 0.3, 0.6, 1], images, predicted)
    assert [p.accuracy for p in masked] == [p.accuracy for p in pruned]
    assert [p.fraction for p in masked] == [p.fraction for p in pruned]
    assert len({p.accuracy for p in pruned}) > 1
    assert {p.multiply_adds for p in masked} == {pruned[0].multiply_adds}


def test_layers_are_prunable_exactly_if_pruning_accepts_them():
    model = small_chain.model()
    for layer in ("conv1", "relu1", "pool", "conv2", "relu2", "classes", "mean"):
        try:
            perturbation.prune(model, {layer: [0]})
            removed = True
        except InputError:
            removed = False
        assert pruning.is_prunable(model, layer) == removed
    assert pruning.is_prunable(model, "relu2") and not pruning.is_prunable(model, "classes")


def test_pruning_to_a_fraction_keeps_the_most_important_maps(images):
    model = small_chain.model()
    ranked = {"relu1": [7, 6, 5, 4, 3, 2, 1, 0], "relu2": [0, 1, 2, 3, 4, 5]}
    small = prune_to_fraction(model, ranked, 0.5)
    with mask_units(model, {"relu1": [0, 1, 2, 3], "relu2": [3, 4, 5]}):
        assert torch.allclose(small(images), model(images), atol=1e-5)
    assert prune_to_fraction(model, ranked, 0.0).net.conv2.weight.shape[:2] == (1, 1)


def test_pruning_jointly_prunes_each_layer(images):
    model, fractions = small_chain.model(), [0.0, 0.5]
    predicted = model(images).argmax(1)
    ranked = _rankings()
    curves = prune_jointly(model, ranked, fractions, images, predicted)
    assert list(curves) == ["loss", "random"]
    for points in curves.values():
        assert points[0] == perturbation.PruningResult(0, 1, *perturbation.cost(model))
    accuracies = []
    for first, second in zip(*(orders["random"] for orders in ranked.orders.values()), strict=True):
        with mask_units(model, {"relu1": first[4:], "relu2": second[3:]}):
            accuracies.append(float((model(images).argmax(1) == predicted).float().mean()))
    assert curves["random"][1].accuracy == pytest.approx(sum(accuracies) / 2)
    half = perturbation.prune(model, {"relu1": [0, 1, 2, 3], "relu2": [0, 1, 2]})
    assert (curves["random"][1].parameters, curves["random"][1].multiply_adds) == perturbation.cost(
        half
    )
    unprunable = Rankings({"a": "relu1", "b": "classes"}, ranked.orders)
    assert prune_jointly(model, unprunable, fractions, images, predicted) == {}
    together = perturbation.pruning_curves(model, ranked, fractions, images, predicted)
    assert together.jointly == curves
    alone = pruning_curve(model, "relu2", [[*range(6)]], fractions, images, predicted)
    assert together.by_layer["b"]["loss"] == alone


def _rankings() -> Rankings:
    first = {"loss": [[*range(8)]], "random": [[*range(8)], [*range(7, -1, -1)]], "odd": []}
    second = {"loss": [[*range(6)]], "random": [[5, 4, 3, 2, 1, 0], [*range(6)]]}
    return Rankings({"a": "relu1", "b": "relu2"}, {"a": first, "b": second})


def test_the_accuracy_gain_is_the_mean_over_fractions_where_both_criteria_were_used():
    def line(*accuracies: float) -> list[perturbation.PruningResult]:
        return [perturbation.PruningResult(n / 2, r, 10, 20) for n, r in enumerate(accuracies)]

    curves = {"a": {"x": line(1, 0.5), "y": line(1, 0.1)}, "b": {"x": line(1, 0), "y": line(1, 1)}}
    curves["c"] = {"y": line(1, 1)}
    gained = PruningCurves(curves, {})
    assert gained.gain("x", "y") == pytest.approx({"a": 0.2, "b": -0.5})
    assert gained.gain("y", "x") == pytest.approx({"a": -0.2, "b": 0.5})


def test_inactive_maps_are_removed_before_a_map_whose_removal_reduces_the_loss(images):
    model = small_chain.model()
    model.net.conv2.weight[4], model.net.conv2.bias[4] = 0, 0
    worst = model(images).argmin(1)
    effect = perturbation.map_importance(model, "relu2", images, worst)
    assert effect.loss.min() < -0.01 and effect.loss[4].abs() < 1e-6
    ranked = perturbation.rankings(model, {"a": "relu2"}, images, worst, decoders={})
    assert ranked.orders["a"]["loss"][0][0] == 4
