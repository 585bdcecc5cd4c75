"""Broden's concept labels: their type, the six categories and their numbering."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core import InputError

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")


class Label(NamedTuple):
    """A concept.

    Attributes:
        number: number in the label maps.
        name: name of the concept.
        category: primary category of the concept.
        frequency: number of images that show the concept; 0 if not counted.
    """

    number: int
    name: str
    category: str
    frequency: int


def label_offsets(names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return category -> the number before its first label; numbers follow Broden's order.

    Args:
        names: category -> names of its labels.

    Raises:
        InputError: a category is not one of Broden's, or there are too many labels.
    """
    unknown = set(names) - set(CATEGORIES)
    if unknown:
        raise InputError(f"category {min(unknown)!r}: expected one of {', '.join(CATEGORIES)}")
    offsets, total = {}, 0
    for category in CATEGORIES:
        offsets[category] = total
        total += len(names.get(category, ()))
    if total >= 2**16:
        raise InputError(f"{total} labels: label maps can only hold numbers below 65536")
    return offsets
