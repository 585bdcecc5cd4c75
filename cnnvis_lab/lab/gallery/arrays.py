"""Differences between the arrays of two runs: which differ, and by how much."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...core import FileError

Arrays = Mapping[str, np.ndarray]


class ArrayDifference(NamedTuple):
    """An array that two runs of a figure do not share.

    Attributes:
        name: of the array.
        largest: largest absolute difference of two values; None if they cannot be subtracted.
        relative: norm of the difference, divided by the norm of the first run's array; infinite if
            that is 0; None if they cannot be subtracted.
        reason: why they cannot; empty otherwise.
    """

    name: str
    largest: float | None
    relative: float | None
    reason: str = ""

    def __str__(self) -> str:
        if self.largest is None:
            return f"{self.name} {self.reason}"
        return f"{self.name} by at most {self.largest:.3g} (relative {self.relative:.2g})"


def read(out: Path, entry: Mapping) -> Arrays:
    """Return the arrays of a figure; none if it has none.

    Args:
        out: the results folder.
        entry: of the figure, in the record.

    Raises:
        FileError: the file is missing or damaged.
    """
    if "arrays" not in entry:
        return {}
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file = out / entry["arrays"]
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise FileError(
            f"the arrays {file} cannot be read ({reason}); `cnnvis render` makes them again"
        ) from None


def differences(first: Arrays, second: Arrays, names: tuple[str, str]) -> list[ArrayDifference]:
    """Return the arrays that differ, the largest relative difference first.

    Args:
        first: of one run.
        second: of the other run.
        names: of the runs.
    """
    found = [
        ArrayDifference(name, None, None, f"only in {run}")
        for run, arrays, other in zip(names, (first, second), (second, first), strict=True)
        for name in arrays.keys() - other.keys()
    ]
    shared = first.keys() & second.keys()
    found += filter(None, (_difference(name, first[name], second[name]) for name in shared))
    return sorted(found, key=lambda one: (-_size(one), one.name))


def _size(difference: ArrayDifference) -> float:
    return np.inf if difference.relative is None else difference.relative


def _difference(name: str, first: np.ndarray, second: np.ndarray) -> ArrayDifference | None:
    """Return how two arrays differ; None if they are equal, where NaN equals NaN."""
    if first.shape != second.shape:
        return ArrayDifference(name, None, None, f"has shapes {first.shape} and {second.shape}")
    one, other = first.astype(np.float64), second.astype(np.float64)
    finite, differs = np.isfinite(one) & np.isfinite(other), ~np.isclose(one, other, 0, 0, True)
    if count := int((differs & ~finite).sum()):
        reason = f"has {count} values that are not finite in one run, or not the same"
        return ArrayDifference(name, None, None, reason)
    if not differs.any():
        return None
    change, norm = (other[finite] - one[finite]), float(np.linalg.norm(one[finite]))
    relative = float(np.linalg.norm(change)) / norm if norm else np.inf
    return ArrayDifference(name, float(np.abs(change).max()), relative)
