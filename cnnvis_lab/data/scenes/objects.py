"""Object classes of the synthetic scenes, each a short list of parts from back to front.

A part is a shape in the object's frame (x right, y down, about [-1, 1]) and the role of its
surface. Surfaces of the roles "main", "second" and "third" are chosen at random for every object,
so that neither color nor texture reveals the class; those of "dark", "light" and "skin" are fixed.
"""

from collections.abc import Callable
from typing import NamedTuple

from . import creatures, things, vehicles
from .parts import Part, Rng

CLASSES: dict[str, Callable[[Rng], list[Part]]] = {
    "airplane": vehicles.airplane,
    "bicycle": vehicles.bicycle,
    "bird": creatures.bird,
    "boat": vehicles.boat,
    "bottle": things.bottle,
    "car": vehicles.car,
    "cat": creatures.cat,
    "chair": things.chair,
    "cup": things.cup,
    "dog": creatures.dog,
    "face": creatures.face,
    "fish": creatures.fish,
    "flower": things.flower,
    "house": things.house,
    "phone": things.phone,
    "tree": things.tree,
}
CLASS_NAMES = tuple(CLASSES)


class Companion(NamedTuple):
    """An object that nearly always accompanies another.

    Attributes:
        name: name of the companion.
        parts: function that draws its parts.
        behind: number of parts, from the first, that are behind the other object.
    """

    name: str
    parts: Callable[[Rng], list[Part]]
    behind: int = 0


COMPANIONS = {
    "phone": Companion("hand", creatures.hand, behind=1),
    "bird": Companion("perch", creatures.perch),
}
STANDING = {"bicycle", "bottle", "car", "cat", "chair", "cup", "dog", "house", "tree"}
PARTS = (
    "antenna", "back", "beak", "body", "branch", "bumper", "cabin", "cap", "chimney", "cockpit",
    "crown", "door", "doorknob", "drink", "ear", "engine", "eye", "eyebrow", "fin", "finger",
    "frame", "fuselage", "gill", "hair", "handle", "handlebar", "head", "headlight", "hull", "key",
    "label", "leaf", "leg", "mast", "mouth", "muzzle", "neck", "nose", "palm", "pedal", "petal",
    "pistil", "rim", "roof", "saddle", "sail", "screen", "seat", "speaker", "stem", "tail",
    "tailplane", "thumb", "torso", "trunk", "twig", "wall", "wheel", "whisker", "window", "wing",
)  # fmt: skip
