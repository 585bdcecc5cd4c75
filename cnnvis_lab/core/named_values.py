"""Numbers by name, such as one per layer, and their statistics."""

import itertools
import math

from torch import Tensor


def ratio(first: float | Tensor, second: float | Tensor) -> float:
    """Return the first number divided by the second; NaN if that is 0."""
    return float(first) / float(second) if second else math.nan


class NamedValues(dict[str, float | Tensor]):
    """Numbers by layer, from the lowest up, or by network; empty if they cannot be measured.

    The properties are None if there are too few numbers.
    """

    @property
    def mean(self) -> float | None:
        """Mean of the numbers."""
        return float(sum(self.values()) / len(self)) if self else None

    @property
    def min(self) -> float | None:
        """Smallest number."""
        return min(map(float, self.values()), default=None)

    @property
    def max(self) -> float | None:
        """Largest number."""
        return max(map(float, self.values()), default=None)

    @property
    def fraction_positive(self) -> float | None:
        """Fraction of the numbers that are greater than 0."""
        return sum(float(value) > 0 for value in self.values()) / len(self) if self else None

    @property
    def min_increase(self) -> float | None:
        """Smallest increase from one number to the next."""
        steps = (float(after - before) for before, after in itertools.pairwise(self.values()))
        return min(steps, default=None)

    @property
    def decrease(self) -> float | None:
        """First minus last number."""
        values = [*self.values()]
        return float(values[0] - values[-1]) if len(values) > 1 else None

    @property
    def increase(self) -> float | None:
        """Last minus first number."""
        values = [*self.values()]
        return float(values[-1] - values[0]) if len(values) > 1 else None

    def difference(self, first: str, second: str) -> float | None:
        """Return the first number minus the second; None if one is missing."""
        return float(self[first] - self[second]) if {first, second} <= self.keys() else None

    def relative_to(self, reference: str) -> "NamedValues":
        """Return each number's relative difference from a reference, one of the numbers."""
        return NamedValues({name: value / self[reference] - 1 for name, value in self.items()})
