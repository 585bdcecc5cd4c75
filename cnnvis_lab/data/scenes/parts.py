"""A part of an object; every object is a list of parts."""

from typing import NamedTuple

import numpy as np

from .shapes import Shape

Rng = np.random.Generator


class Part(NamedTuple):
    """One part of an object.

    Attributes:
        name: name of the part.
        shape: its outline in the object's frame.
        role: role of its surface.
        relief: from 0, flat, to 1, fully rounded.
    """

    name: str
    shape: Shape
    role: str = "main"
    relief: float = 0.35
