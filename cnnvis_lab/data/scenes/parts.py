"""A part of an object: the unit every object class is built from."""

from typing import NamedTuple

import numpy as np

from .shapes import Shape

Rng = np.random.Generator


class Part(NamedTuple):
    """One part: its name, its shape, its surface's role, how rounded its relief is (0 to 1)."""

    name: str
    shape: Shape
    role: str = "main"
    relief: float = 0.35
