"""Labels of figures: numbers as short lines of text."""

import math
from collections.abc import Mapping

from torch import Tensor


def quality_label(activation: float, naturalness: float, distance: float, recognized: float) -> str:
    """Return the quality of generated images as a label of several lines.

    Args:
        activation: mean activation of the units that the images were made for.
        naturalness: mean, 0 to 1.
        distance: mean distance to the nearest real image, relative to that among real images.
        recognized: fraction of images recognized; left out if NaN.
    """
    lines = [f"activation {activation:.0f}", f"natural {naturalness:.2f}"]
    lines.append(f"distance {distance:.2f}")
    if not math.isnan(recognized):
        lines.append(f"recognised {recognized:.0%}")
    return "\n".join(lines)


def format_values(values: Mapping[str, float | Tensor], digits: int = 2) -> str:
    """Return numbers with their names as text."""
    return ", ".join(f"{name} {float(value):.{digits}f}" for name, value in values.items())
