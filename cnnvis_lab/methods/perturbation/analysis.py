"""Analysis of outcomes: how much damage perturbations do, and their order by damage."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from .cases import ORDERS, VARIANTS, Case, Outcome, Outcomes

# Which half of the activations is removed, from the least to the most damaging.
HALVES = ("least", "dropout", "most")


def layers_with_errors(outcomes: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """Select the layers whose outcomes have reconstruction errors, i.e. those with a decoder."""
    return {
        layer: by_case
        for layer, by_case in outcomes.items()
        if not any(math.isnan(outcome.error) for outcome in by_case.values())
    }


def _damage(outcome: Outcome, quantity: str) -> float:
    """Return the error, or minus the accuracy; larger values are worse."""
    return outcome.error if quantity == "error" else -outcome.accuracy


def fraction_ordered(rows: Collection[Sequence[float]]) -> float:
    """Return the fraction of rows whose numbers never decrease from left to right."""
    return fmean(all(a <= b for a, b in pairwise(row)) for row in rows)


def fraction_ordered_by_variant(
    outcomes: Mapping[str, Outcomes], quantity: str
) -> dict[str, float]:
    """Return, for each of `VARIANTS`, the fraction of layers where damage increases along `HALVES`.

    Args:
        outcomes: layer -> its outcomes.
        quantity: "error" or "accuracy".
    """
    return {
        title: fraction_ordered(
            [
                [_damage(by_case[cases[half]], quantity) for half in HALVES]
                for by_case in outcomes.values()
            ]
        )
        for title, cases in VARIANTS.items()
    }


def relative_accuracy(outcomes: Mapping[str, Outcomes], case: Case) -> dict[str, float]:
    """Return layer -> accuracy after a perturbation divided by that without."""
    return {
        layer: by_case[case].accuracy / max(by_case[Case("none")].accuracy, 1e-9)
        for layer, by_case in outcomes.items()
    }


def robustness_gain(
    clean: Mapping[str, Outcomes], retrained: Mapping[str, Outcomes], case: Case
) -> dict[str, float]:
    """Return how much less a perturbation increases the error of decoders trained on it.

    Args:
        clean: layer -> outcomes with decoders trained on unchanged activations.
        retrained: layer -> outcomes with decoders trained on perturbed activations; layers may be
            missing.
        case: the perturbation.

    Returns:
        Layer -> difference between the relative increases of the error.
    """
    return {
        layer: _relative_increase(clean[layer], case) - _relative_increase(by_case, case)
        for layer, by_case in retrained.items()
    }


def _relative_increase(by_case: Outcomes, case: Case) -> float:
    return by_case[case].error / by_case[Case("none")].error - 1


def random_between_margin(
    by_case: Outcomes, steps: Mapping[str, Sequence[Case]], quantity: str
) -> float:
    """Return how clearly random dropping is between dropping the least and the most important.

    Args:
        by_case: outcomes of one layer.
        steps: order of dropping, as in `ORDERS` -> one case per fraction.
        quantity: "error" or "accuracy".

    Returns:
        The smallest of the mean distances to the four other orders; positive if random dropping
        does more damage than the least important ones and less than the most important ones.
    """
    means = {
        name: fmean(_damage(by_case[case], quantity) for case in cases)
        for name, cases in steps.items()
    }
    signs = {"least": 1, "most": -1}
    return min(
        signs[order] * (means["random"] - means[name]) for name, (order, by) in ORDERS.items() if by
    )
