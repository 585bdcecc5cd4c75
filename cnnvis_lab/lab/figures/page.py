"""The way of one picture up through a network, and of one unit's signal down again, drawn."""

import numpy as np
from matplotlib.figure import Figure

from .style import MUTED, Array, to_numpy

CELL_INCHES, GAP_INCHES, LABEL_INCHES, MIDDLE_INCHES = 1.15, 0.46, 1.25, 1.5  # inches


def add_cell(
    figure: Figure, x: float, y: float, picture: Array, color: str = MUTED, line: float = 0.8
) -> None:
    """Draw a picture (3, h, w) or a map (h, w) in a frame, `CELL` wide, at x, y in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, CELL_INCHES / width, CELL_INCHES / height))
    array = to_numpy(picture)
    if array.ndim == 3:
        axes.imshow(np.clip(array.transpose(1, 2, 0), 0, 1))
    else:
        largest = max(float(np.abs(array).max()), 1e-12)
        axes.imshow(array, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=color, lw=line)
