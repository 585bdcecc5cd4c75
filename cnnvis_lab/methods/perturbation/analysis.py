"""Numbers drawn from outcomes: which perturbation does most damage, and in which order."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from .cases import ORDERS, VARIANTS, Case, Outcome, Outcomes

# Halves that are removed, from the least to the most damaging.
HALVES = ("least", "dropout", "most")


def layers_with_errors(outcomes: Mapping[str, Outcomes]) -> dict[str, Outcomes]:
    """Return the layers whose outcomes have reconstruction errors, which need a decoder."""
    return {
        layer: by_case
        for layer, by_case in outcomes.items()
        if not any(math.isnan(outcome.error) for outcome in by_case.values())
    }


def _damage(outcome: Outcome, quantity: str) -> float:
    """The error, or the accuracy with its sign changed: the larger, the worse."""
    return outcome.error if quantity == "error" else -outcome.accuracy


def fraction_ordered(rows: Collection[Sequence[float]]) -> float:
    """Return the fraction of rows whose numbers never decrease from left to right."""
    return fmean(all(a <= b for a, b in pairwise(row)) for row in rows)


def fraction_ordered_by_variant(
    outcomes: Mapping[str, Outcomes], quantity: str
) -> dict[str, float]:
    """Return, for each of `VARIANTS`, the fraction of layers where `HALVES` do damage in order.

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
    """Return layer -> the accuracy after a perturbation over that of unchanged activations."""
    return {
        layer: by_case[case].accuracy / max(by_case[Case("none")].accuracy, 1e-9)
        for layer, by_case in outcomes.items()
    }


def robustness_gain(
    clean: Mapping[str, Outcomes], retrained: Mapping[str, Outcomes], case: Case
) -> dict[str, float]:
    """Return how much less a perturbation raises the error of decoders that were trained on it.

    Args:
        clean: layer -> outcomes with decoders trained on unchanged activations.
        retrained: layer -> outcomes with decoders trained on perturbed ones; may lack layers.
        case: the perturbation.

    Returns:
        Layer -> difference of the relative increases of the error.
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
    """Return how clearly random dropping does more damage than the least, less than the most.

    Args:
        by_case: outcomes of one layer.
        steps: order of dropping, as in `ORDERS` -> a case for each fraction.
        quantity: "error" or "accuracy".

    Returns:
        The smallest mean distance to one of the four other orders; positive if random is between.
    """
    means = {
        name: fmean(_damage(by_case[case], quantity) for case in cases)
        for name, cases in steps.items()
    }
    signs = {"least": 1, "most": -1}
    return min(
        signs[order] * (means["random"] - means[name]) for name, (order, by) in ORDERS.items() if by
    )
