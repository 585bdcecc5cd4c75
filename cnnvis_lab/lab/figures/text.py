"""Labels of figures: numbers as short lines of text."""

import math
from collections.abc import Mapping

from torch import Tensor


def format_number(value: float) -> str:
    """Return a number with at least two significant digits."""
    text = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    return text.replace("-", "−")


def format_values(values: Mapping[str, float | Tensor], digits: int = 2) -> str:
    """Return numbers with their names as text; quotients with a divisor of 0 are undefined."""
    numbers = {name: float(value) for name, value in values.items()}
    return ", ".join(
        f"{name} {number:.{digits}f}" if math.isfinite(number) else f"{name} undefined"
        for name, number in numbers.items()
    )
