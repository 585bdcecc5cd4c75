"""Part of an object, the unit from which every object class is built."""

from typing import NamedTuple

import numpy as np

from .shapes import Shape

Rng = np.random.Generator


class Part(NamedTuple):
    """One part of an object.

    Attributes:
        name: its name.
        shape: its outline in the object's frame.
        role: role of its surface.
        relief: from 0, flat, to 1, as round as the shape is thick.
    """

    name: str
    shape: Shape
    role: str = "main"
    relief: float = 0.35
