"""Outcomes are those computed directly, and comparisons agree with the damage that was planted."""

import pytest
import torch
from support import small_chain

from cnnvis_lab.core import image_metrics
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import ORDERS, VARIANTS, Case, Outcome, Outcomes
from cnnvis_lab.methods.perturbation.outcomes import fraction_ordered

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST, SECOND, NAN = Case("none"), Case("least", "gradient"), float("nan")
CASES = [
    Case("binarized"),
    Case("least active", "gradient"),
    Case(perturbation.quantize(2)),
    Case("dropout"),
]


def test_an_outcome_is_the_error_of_the_decoder_and_the_accuracy_of_the_network(images):
    model, decoder = small_chain.model(), small_chain.decoder()
    layers, unit = (
        {"upper": "relu2", "lower": "conv1"},
        image_metrics.mean_pairwise_distance(images),
    )
    outcomes = perturbation.outcomes(
        model, layers, images, small_chain.CLASSES, CASES, decoders={"relu2": decoder}, seed=4
    )
    assert outcomes.unit == unit and list(outcomes.by_layer) == ["upper", "lower"]
    upper = outcomes.by_layer["upper"]
    assert list(upper) == CASES
    for change, by in CASES:
        codes = perturbation.perturb(model, "relu2", images, change, by=by, seed=4)
        error = (decoder.draw(codes) - images).flatten(1).norm(dim=1).mean() / unit
        accuracy = (model.net[5:](codes).argmax(1) == small_chain.CLASSES).float().mean()
        assert upper[change, by].error == pytest.approx(float(error), rel=1e-5)
        assert upper[change, by].accuracy == pytest.approx(float(accuracy))
    assert len({outcome.error for outcome in upper.values()}) == len(CASES)
    assert list(outcomes.with_errors().by_layer) == ["upper"]
    assert outcomes.table(CASES[:2])["upper"] == [upper[case] for case in CASES[:2]]


def test_unchanged_activations_keep_the_predictions(images):
    model = small_chain.model()
    predicted = model(images).argmax(1)
    assert len(predicted.unique()) > 1
    outcomes = perturbation.outcomes(model, {"a": "conv1"}, images, predicted)
    assert outcomes.by_layer["a"][FIRST].accuracy == 1
    assert {case for own in VARIANTS.values() for case in own.values()} == {*outcomes.by_layer["a"]}


def test_layers_without_errors_are_excluded():
    outcomes = Outcomes({"a": {FIRST: Outcome(1, 0)}, "b": {FIRST: Outcome(NAN, 0)}}, 1)
    assert outcomes.with_errors().by_layer == {"a": outcomes.by_layer["a"]}
    assert outcomes.errors("a", {"x": FIRST}) == {"x": 1} and len(outcomes) == 2
    assert outcomes.errors("b", {"x": FIRST}) == outcomes.errors("c", {"x": FIRST}) == {}
    assert not Outcomes({"b": outcomes.by_layer["b"]}, 1).with_errors()


def test_equal_numbers_count_as_ordered():
    assert fraction_ordered([(1, 2, 2), (2, 1, 3), (0, 0, 0), (3, 2, 1)]) == 0.5


def test_damage_is_the_error_or_the_loss_of_accuracy():
    sizes = {"smallest": 1.0, "random": 2.0, "largest": 4.0}
    ordered = {
        case: Outcome(sizes.get(name.split()[0], 0.5), sizes.get(name.split()[0], 0.5) / 4)
        for cases in VARIANTS.values()
        for name, case in cases.items()
    }
    gradient = VARIANTS["active units, by gradient"]
    unordered = ordered | {gradient["largest 50 % dropped"]: Outcome(0, 0)}
    outcomes = Outcomes({"a": ordered, "b": unordered}, 1)
    for quantity, expected in (("error", [1, 1, 0.5]), ("accuracy", [0, 0, 0])):
        assert list(outcomes.fraction_ordered(quantity).values()) == expected
    partial = Outcomes({"a": {case: ordered[case] for case in gradient.values()}}, 1)
    assert partial.fraction_ordered("error") == {"active units, by gradient": 1}
    assert Outcomes({}, 1).fraction_ordered("error") == {}


def test_reductions_and_relative_accuracies_compare_two_cases():
    rows = {"a": {FIRST: Outcome(0.5, 0.8), SECOND: Outcome(0.75, 0.2)}}
    rows["b"] = {FIRST: Outcome(NAN, 0), SECOND: Outcome(NAN, 0)}
    outcomes = Outcomes(rows, 1)
    assert outcomes.relative_accuracy(SECOND) == {"a": pytest.approx(0.25), "b": 0}
    assert outcomes.reduction("error", FIRST, SECOND) == {"a": -0.25}
    assert outcomes.reduction("accuracy", FIRST, SECOND) == {"a": pytest.approx(0.6), "b": 0}


def test_the_robustness_gain_compares_the_increases_of_the_error():
    clean = {n: {FIRST: Outcome(0.5, 1), SECOND: Outcome(0.75, 1)} for n in ("a", "b")}
    retrained = {n: {FIRST: Outcome(0.6, 1), SECOND: Outcome(0.66, 1)} for n in ("b", "c")}
    gain = Outcomes(clean, 1).robustness_gain(Outcomes(retrained, 1), SECOND)
    assert gain == {"b": pytest.approx(0.4)}


@pytest.mark.parametrize("quantity", ["error", "accuracy"])
@pytest.mark.parametrize(("random", "expected"), [([2, 3], 1.5), ([0, 0], -1), ([5, 5], -1)])
def test_the_margin_is_negative_unless_random_lies_between_smallest_and_largest_first(
    quantity, random, expected
):
    damage = dict(zip(ORDERS, ([0, 1], [1, 1], random, [3, 5], [4, 4]), strict=True))
    steps = {(name, n): Case(f"{name} {n}") for name in ORDERS for n in (0, 1)}
    row = {case: Outcome(damage[name][n], -damage[name][n]) for (name, n), case in steps.items()}
    margin = Outcomes({"a": row}, 1).random_margin(steps, quantity)
    assert margin == {"a": expected}


def test_the_reference_classes_are_predictions_if_the_truth_is_unknown(images):
    model = small_chain.model()
    for synthetic in (True, False):  # the small network has other classes than the scenes
        classes = perturbation.reference_classes(model, images, synthetic=synthetic)
        assert torch.equal(classes, model(images).argmax(1))
