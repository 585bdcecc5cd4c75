"""A part of an object; every object is a list of parts."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from .canvas import Pose
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


@dataclass(frozen=True)
class PartTruth:
    """Position of one part.

    Attributes:
        name: name of the part.
        x: column of the center of its shape, in pixels.
        y: row of the center of its shape, in pixels.
        box: bounding box x0, y0, x1, y1 of its shape, in pixels.
    """

    name: str
    x: float
    y: float
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, part: Part, pose: Pose) -> Self:
        """Return the position of a part of an object with this pose."""
        x0, y0, x1, y1 = box = pose.box(part.shape)
        return cls(part.name, (x0 + x1) / 2, (y0 + y1) / 2, box)
