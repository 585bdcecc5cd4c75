"""Measures of outcomes agree with the damage that was planted."""

import pytest

from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import ORDERS, VARIANTS, Case, Outcome

FIRST, SECOND = Case("none"), Case("least", "gradient")


def test_layers_without_errors_are_excluded():
    outcomes = {"a": {FIRST: Outcome(1, 0)}, "b": {FIRST: Outcome(float("nan"), 0)}}
    assert perturbation.layers_with_errors(outcomes) == {"a": outcomes["a"]}


def test_equal_numbers_count_as_ordered():
    assert perturbation.fraction_ordered([(1, 2, 2), (2, 1, 3), (0, 0, 0), (3, 2, 1)]) == 0.5


def test_damage_is_the_error_or_the_loss_of_accuracy():
    sizes = {"least": 1.0, "dropout": 2.0, "most": 4.0}
    ordered = {
        case: Outcome(sizes.get(name, 0.5), sizes.get(name, 0.5) / 4)
        for cases in VARIANTS.values()
        for name, case in cases.items()
    }
    gradient = VARIANTS["of what fires, by gradient"]
    unordered = ordered | {gradient["most"]: Outcome(0, 0)}
    by_layer = {"a": ordered, "b": unordered}
    for quantity, expected in (("error", [1, 1, 0.5]), ("accuracy", [0, 0, 0])):
        fractions = perturbation.fraction_ordered_by_variant(by_layer, quantity)
        assert list(fractions.values()) == expected


def test_the_relative_accuracy_is_a_fraction_of_the_unperturbed_accuracy():
    by_layer = {"a": {FIRST: Outcome(0, 0.8), SECOND: Outcome(0, 0.2)}}
    by_layer["b"] = {FIRST: Outcome(0, 0), SECOND: Outcome(0, 0)}
    assert perturbation.relative_accuracy(by_layer, SECOND) == {"a": pytest.approx(0.25), "b": 0}


def test_the_robustness_gain_compares_the_increases_of_the_error():
    clean = {n: {FIRST: Outcome(0.5, 1), SECOND: Outcome(0.75, 1)} for n in ("a", "b")}
    retrained = {"b": {FIRST: Outcome(0.6, 1), SECOND: Outcome(0.66, 1)}}
    assert perturbation.robustness_gain(clean, retrained, SECOND) == {"b": pytest.approx(0.4)}


@pytest.mark.parametrize("quantity", ["error", "accuracy"])
@pytest.mark.parametrize(("random", "expected"), [([2, 3], 1.5), ([0, 0], -1), ([5, 5], -1)])
def test_the_margin_is_negative_unless_random_lies_between_least_and_most(
    quantity, random, expected
):
    damage = dict(zip(ORDERS, ([0, 1], [1, 1], random, [3, 5], [4, 4]), strict=True))
    steps = {name: [Case(f"{name} {step}") for step in (0, 1)] for name in ORDERS}
    outcomes = {
        case: Outcome(value, -value)
        for name, line in steps.items()
        for case, value in zip(line, damage[name], strict=True)
    }
    assert perturbation.random_between_margin(outcomes, steps, quantity) == expected
