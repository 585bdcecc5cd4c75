"""What to read off perturbed codes: which change does most harm, and in which order."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from .cases import ORDERS, VARIANTS, Case, Outcome

# Halves that are lost, in the order in which that should do harm.
HALVES = ("least", "dropout", "most")
Outcomes = Mapping[Case, Outcome]


def by_layer(
    found: Mapping[str, Outcomes], cases: Mapping[str, Case], quantity: str
) -> dict[str, list[float]]:
    """Return name of a case -> what it leaves, layer by layer.

    Args:
        found: label of a layer -> what `perturbation_studies.outcomes` gave.
        cases: name -> case.
        quantity: "error" or "accuracy".
    """
    return {
        name: [getattr(own[case], quantity) for own in found.values()]
        for name, case in cases.items()
    }


def by_fraction(
    own: Outcomes, steps: Mapping[str, Sequence[Case]], quantity: str
) -> dict[str, list[float]]:
    """Return order of dropping -> what is left at each share.

    Args:
        own: what `perturbation_studies.outcomes` gave for one layer.
        steps: order of dropping -> a case for each share.
        quantity: "error" or "accuracy".
    """
    return {name: [getattr(own[case], quantity) for case in line] for name, line in steps.items()}


def damage(
    found: Mapping[str, Outcomes], cases: Mapping[str, Case], quantity: str
) -> list[list[float]]:
    """Return what losing each of `HALVES` costs, a row for each layer.

    Args:
        found: label of a layer -> what is left.
        cases: those of a reading, one of `VARIANTS`.
        quantity: "error", or "accuracy", of which the loss counts.
    """
    sign = -1 if quantity == "accuracy" else 1
    return [
        [sign * getattr(own[cases[name]], quantity) for name in HALVES] for own in found.values()
    ]


def fraction_ordered(rows: Collection[Sequence[float]]) -> float:
    """Return the share of rows whose numbers never fall from left to right."""
    return fmean(all(a <= b for a, b in pairwise(row)) for row in rows)


def fraction_ordered_by_variant(found: Mapping[str, Outcomes], quantity: str) -> dict[str, float]:
    """Return reading -> the share of layers in which halves do harm in their order; see `harms`."""
    return {
        title: fraction_ordered(damage(found, cases, quantity)) for title, cases in VARIANTS.items()
    }


def relative_error_increase(own: Outcomes, case: Case) -> float:
    """Return by which share a change raises the error that unchanged codes leave."""
    return own[case].error / own[Case("none")].error - 1


def relative_accuracy(found: Mapping[str, Outcomes], case: Case) -> dict[str, float]:
    """Return layer -> the accuracy that a change leaves, as a share of that of unchanged codes."""
    return {
        layer: own[case].accuracy / max(own[Case("none")].accuracy, 1e-9)
        for layer, own in found.items()
    }


def robustness_gain(
    found: Mapping[str, Outcomes], hardened: Mapping[str, Outcomes], case: Case
) -> dict[str, float]:
    """Return layer -> how much less a change raises the error of decoders that were used to it.

    Args:
        found: what decoders trained on unchanged codes leave.
        hardened: what those trained on changed codes leave; may know fewer layers.
        case: the change.
    """
    return {
        layer: relative_error_increase(found[layer], case) - relative_error_increase(own, case)
        for layer, own in hardened.items()
    }


def random_between_margin(
    own: Outcomes, steps: Mapping[str, Sequence[Case]], quantity: str
) -> float:
    """Return how clearly random dropping does more harm than the least, and less than the most.

    Args:
        own: what is left of one layer.
        steps: order of dropping, as in `ORDERS` -> a case for each share.
        quantity: "error" or "accuracy".

    Returns:
        The smallest mean distance to one of the four others; positive if random lies between.
    """
    sign = -1 if quantity == "accuracy" else 1
    means = {name: sign * fmean(line) for name, line in by_fraction(own, steps, quantity).items()}
    sides = {"least": 1, "most": -1}
    return min(
        sides[order] * (means["random"] - means[name]) for name, (order, by) in ORDERS.items() if by
    )
