"""Outcomes of perturbations: reconstruction errors and accuracies, and comparisons of them."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from torch import Tensor

from ...core import Images, Int, NamedValues, image_metrics
from ...models import Model
from ...models.generators import Generator
from .cases import ORDERS, VARIANTS, Case, perturb_each
from .perturb import accuracy, forward_from, reconstruction_error

# Which half of the activations is removed, from the least to the most damaging.
HALVES = ("smallest 50 % dropped", "random 50 % dropped", "largest 50 % dropped")
_NONE = Case("none")


class Outcome(NamedTuple):
    """Reconstruction error and accuracy after a perturbation.

    Attributes:
        error: mean normalized pixel error of the reconstructions; NaN if there are none.
        accuracy: fraction of images that the rest of the network classifies correctly; NaN if it
            was not measured.
    """

    error: float
    accuracy: float


def damage(outcome: Outcome, quantity: str) -> float:
    """Return the "error", or minus the "accuracy"; larger values are worse."""
    return outcome.error if quantity == "error" else -outcome.accuracy


def fraction_ordered(rows: Collection[Sequence[float]]) -> float:
    """Return the fraction of rows whose numbers never decrease from left to right."""
    return fmean(all(a <= b for a, b in pairwise(row)) for row in rows)


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of perturbations in some layers.

    Attributes:
        by_layer: layer -> case -> its outcome.
        unit: unit of the errors, see `core.image_metrics.mean_pairwise_distance`.
    """

    by_layer: Mapping[str, Mapping[Case, Outcome]]
    unit: float

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.by_layer)

    def with_errors(self) -> "Outcomes":
        """Return the layers that have reconstruction errors, i.e. those with a decoder."""
        rows = self.by_layer.items()
        return Outcomes({layer: row for layer, row in rows if not _no_errors(row)}, self.unit)

    def _measured(self, quantity: str) -> Mapping[str, Mapping[Case, Outcome]]:
        return (self.with_errors() if quantity == "error" else self).by_layer

    def table(self, cases: Iterable[Case]) -> dict[str, list[Outcome]]:
        """Return layer -> the outcomes of some cases, in their order."""
        cases = list(cases)
        return {layer: [row[case] for case in cases] for layer, row in self.by_layer.items()}

    def errors(self, layer: str, cases: Mapping[str, Case]) -> NamedValues:
        """Return name of a case -> error in one layer; empty if it has no errors."""
        row = self._measured("error").get(layer)
        return NamedValues({name: row[case].error for name, case in cases.items()} if row else {})

    def reduction(self, quantity: str, first: Case, second: Case) -> NamedValues:
        """Return how much smaller a quantity is in the second of two cases.

        Args:
            quantity: "error" or "accuracy".
            first: a perturbation.
            second: the perturbation to compare it with.

        Returns:
            Layer -> quantity in the first minus that in the second case.
        """
        return NamedValues(
            {
                layer: getattr(row[first], quantity) - getattr(row[second], quantity)
                for layer, row in self._measured(quantity).items()
            }
        )

    def relative_accuracy(self, case: Case) -> NamedValues:
        """Return layer -> accuracy after a perturbation divided by that without."""
        return NamedValues(
            {
                layer: row[case].accuracy / max(row[_NONE].accuracy, 1e-9)
                for layer, row in self.by_layer.items()
            }
        )

    def fraction_ordered(self, quantity: str) -> NamedValues:
        """Return, for each of `VARIANTS`, the fraction of layers where damage follows `HALVES`.

        Args:
            quantity: "error" or "accuracy".

        Returns:
            Variant -> fraction; only the variants whose cases were measured.
        """
        rows = list(self._measured(quantity).values())
        halves = {title: [cases[half] for half in HALVES] for title, cases in VARIANTS.items()}
        return NamedValues(
            {
                title: fraction_ordered(
                    [[damage(row[case], quantity) for case in cases] for row in rows]
                )
                for title, cases in halves.items()
                if rows and {*cases} <= rows[0].keys()
            }
        )

    def robustness_gain(self, retrained: "Outcomes", case: Case) -> NamedValues:
        """Return how much less a perturbation increases the error of decoders trained on it.

        Args:
            retrained: outcomes with decoders trained on perturbed activations, while these ones
                are with decoders trained on unperturbed activations.
            case: the perturbation.

        Returns:
            Layer -> difference between the relative increases of the error.
        """
        clean, others = self._measured("error"), retrained._measured("error")
        return NamedValues(
            {
                layer: _relative_increase(clean[layer], case) - _relative_increase(row, case)
                for layer, row in others.items()
                if layer in clean
            }
        )

    def random_margin(self, steps: Mapping[tuple[str, float], Case], quantity: str) -> NamedValues:
        """Return how clearly random dropping is between dropping the least and the most important.

        Args:
            steps: the cases of `dropping_cases`.
            quantity: "error" or "accuracy".

        Returns:
            Layer -> the smallest of the mean distances to the four other orders; positive if random
            dropping does more damage than dropping the smallest activations and less than dropping
            the largest ones.
        """
        rows = self._measured(quantity)
        return NamedValues({layer: _margin(row, steps, quantity) for layer, row in rows.items()})


def _no_errors(row: Mapping[Case, Outcome]) -> bool:
    return any(math.isnan(outcome.error) for outcome in row.values())


def _relative_increase(row: Mapping[Case, Outcome], case: Case) -> float:
    return row[case].error / row[_NONE].error - 1


def _margin(
    row: Mapping[Case, Outcome], steps: Mapping[tuple[str, float], Case], quantity: str
) -> float:
    damages: dict[str, list[float]] = {name: [] for name in ORDERS}
    for (name, _), case in steps.items():
        damages[name].append(damage(row[case], quantity))
    means = {name: fmean(values) for name, values in damages.items()}
    signs = {"least": 1, "most": -1}
    return min(
        signs[order] * (means["random"] - means[name]) for name, (order, by) in ORDERS.items() if by
    )


def outcomes(
    model: Model,
    layers: Mapping[str, str],
    images: Images,
    classes: Int[Tensor, " n"],
    cases: Iterable[Case] | None = None,
    *,
    decoders: Mapping[str, Generator] | None = None,
    seed: int = 0,
) -> Outcomes:
    """Perturb the activations of layers one by one; measure reconstruction error and accuracy.

    Args:
        model: the network.
        layers: label -> dotted name or alias, such as those of `perturbed_layers`.
        images: (n, 3, size, size) in [0, 1]; their mean distance is the unit of the errors.
        classes: (n,) class indices of the images.
        cases: the perturbations; those of all `VARIANTS` by default.
        decoders: layer -> its decoder; layers without one have no reconstruction error.
        seed: of random choices.
    """
    cases = list(cases or [case for variant in VARIANTS.values() for case in variant.values()])
    unit, by_layer = image_metrics.mean_pairwise_distance(images), {}
    for label, layer in layers.items():
        decoder = (decoders or {}).get(layer)
        by_layer[label] = {}
        for case, codes in perturb_each(model, layer, images, cases, seed):
            scores, error = forward_from(model, layer, images, codes), float("nan")
            if decoder is not None:
                error = float(reconstruction_error(decoder, codes, images, unit).mean())
            by_layer[label][case] = Outcome(error, accuracy(scores, classes))
    return Outcomes(by_layer, unit)
