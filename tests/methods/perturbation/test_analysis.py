"""What is read off outcomes: orders of harm, as planted."""

import pytest

from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import ORDERS, VARIANTS, Case, Outcome, analysis

FIRST, SECOND = Case("none"), Case("least", "gradient")


def test_heights_go_by_case_and_then_by_layer():
    found = {
        layer: {FIRST: Outcome(n, n + 1), SECOND: Outcome(n + 2, n + 3)}
        for n, layer in enumerate(("a", "b"))
    }
    assert perturbation.by_layer(found, {"x": SECOND, "y": FIRST}, "error") == {
        "x": [2, 3],
        "y": [0, 1],
    }
    assert perturbation.by_layer(found, {"x": SECOND}, "accuracy") == {"x": [3, 4]}


def test_the_share_of_rows_in_order_counts_equals_as_in_order():
    assert perturbation.fraction_ordered([(1, 2, 2), (2, 1, 3), (0, 0, 0), (3, 2, 1)]) == 0.5


def test_harms_are_errors_or_losses_of_accuracy_by_layer():
    sizes = {"least": 1.0, "dropout": 2.0, "most": 4.0}
    one = {
        case: Outcome(sizes.get(name, 0.5), sizes.get(name, 0.5) / 4)
        for cases in VARIANTS.values()
        for name, case in cases.items()
    }
    gradient = VARIANTS["of what fires, by gradient"]
    other = one | {gradient["most"]: Outcome(0, 0)}
    found = {"a": one, "b": other}
    assert analysis.damage(found, gradient, "error") == [[1, 2, 4], [1, 2, 0]]
    assert analysis.damage({"a": one}, gradient, "accuracy") == [[-0.25, -0.5, -1]]
    assert list(perturbation.fraction_ordered_by_variant(found, "error").values()) == [1, 1, 0.5]
    assert list(perturbation.fraction_ordered_by_variant(found, "accuracy").values()) == [0, 0, 0]


def test_the_accuracy_kept_is_a_share_of_the_one_before():
    found = {"a": {FIRST: Outcome(0, 0.8), SECOND: Outcome(0, 0.2)}}
    found["b"] = {FIRST: Outcome(0, 0), SECOND: Outcome(0, 0)}
    assert perturbation.relative_accuracy(found, SECOND) == {"a": pytest.approx(0.25), "b": 0}


def test_a_decoder_used_to_a_change_is_raised_less_by_it():
    found = {n: {FIRST: Outcome(0.5, 1), SECOND: Outcome(0.75, 1)} for n in ("a", "b")}
    used = {"b": {FIRST: Outcome(0.6, 1), SECOND: Outcome(0.66, 1)}}
    assert analysis.relative_error_increase(found["a"], SECOND) == pytest.approx(0.5)
    assert perturbation.robustness_gain(found, used, SECOND) == {"b": pytest.approx(0.4)}


@pytest.mark.parametrize("quantity", ["error", "accuracy"])
@pytest.mark.parametrize(("random", "expected"), [([2, 3], 1.5), ([0, 0], -1), ([5, 5], -1)])
def test_random_lies_between_only_if_it_does(quantity, random, expected):
    harm = dict(zip(ORDERS, ([0, 1], [1, 1], random, [3, 5], [4, 4]), strict=True))
    steps = {name: [Case(f"{name} {share}") for share in (0, 1)] for name in ORDERS}
    own = {
        case: Outcome(lost, -lost)
        for name, line in steps.items()
        for case, lost in zip(line, harm[name], strict=True)
    }
    assert perturbation.random_between_margin(own, steps, quantity) == expected
