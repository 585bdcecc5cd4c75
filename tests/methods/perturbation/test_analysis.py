"""Numbers drawn from outcomes: orders of damage, as planted."""

import pytest

from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import ORDERS, VARIANTS, Case, Outcome

FIRST, SECOND = Case("none"), Case("least", "gradient")


def test_layers_without_errors_are_left_out():
    outcomes = {"a": {FIRST: Outcome(1, 0)}, "b": {FIRST: Outcome(float("nan"), 0)}}
    assert perturbation.layers_with_errors(outcomes) == {"a": outcomes["a"]}


def test_equal_numbers_count_as_ordered():
    assert perturbation.fraction_ordered([(1, 2, 2), (2, 1, 3), (0, 0, 0), (3, 2, 1)]) == 0.5


def test_damage_is_the_error_or_the_loss_of_accuracy():
    sizes = {"least": 1.0, "dropout": 2.0, "most": 4.0}
    one = {
        case: Outcome(sizes.get(name, 0.5), sizes.get(name, 0.5) / 4)
        for cases in VARIANTS.values()
        for name, case in cases.items()
    }
    gradient = VARIANTS["of what fires, by gradient"]
    other = one | {gradient["most"]: Outcome(0, 0)}
    found = {"a": one, "b": other}
    assert list(perturbation.fraction_ordered_by_variant(found, "error").values()) == [1, 1, 0.5]
    assert list(perturbation.fraction_ordered_by_variant(found, "accuracy").values()) == [0, 0, 0]


def test_the_relative_accuracy_is_a_fraction_of_the_one_before():
    found = {"a": {FIRST: Outcome(0, 0.8), SECOND: Outcome(0, 0.2)}}
    found["b"] = {FIRST: Outcome(0, 0), SECOND: Outcome(0, 0)}
    assert perturbation.relative_accuracy(found, SECOND) == {"a": pytest.approx(0.25), "b": 0}


def test_the_error_of_a_decoder_trained_on_a_perturbation_increases_less():
    found = {n: {FIRST: Outcome(0.5, 1), SECOND: Outcome(0.75, 1)} for n in ("a", "b")}
    used = {"b": {FIRST: Outcome(0.6, 1), SECOND: Outcome(0.66, 1)}}
    assert perturbation.robustness_gain(found, used, SECOND) == {"b": pytest.approx(0.4)}


@pytest.mark.parametrize("quantity", ["error", "accuracy"])
@pytest.mark.parametrize(("random", "expected"), [([2, 3], 1.5), ([0, 0], -1), ([5, 5], -1)])
def test_random_lies_between_only_if_it_does(quantity, random, expected):
    damage = dict(zip(ORDERS, ([0, 1], [1, 1], random, [3, 5], [4, 4]), strict=True))
    steps = {name: [Case(f"{name} {step}") for step in (0, 1)] for name in ORDERS}
    own = {
        case: Outcome(lost, -lost)
        for name, line in steps.items()
        for case, lost in zip(line, damage[name], strict=True)
    }
    assert perturbation.random_between_margin(own, steps, quantity) == expected
