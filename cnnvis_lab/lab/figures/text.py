"""Labels of figures: numbers as short lines of text."""

from collections.abc import Mapping

from torch import Tensor


def format_values(values: Mapping[str, float | Tensor], digits: int = 2) -> str:
    """Return numbers with their names as text."""
    return ", ".join(f"{name} {float(value):.{digits}f}" for name, value in values.items())
