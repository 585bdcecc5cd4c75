"""Broden's concept labels: their type, the six categories and their numbering."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core import InputError

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")


class Label(NamedTuple):
    """A concept.

    Attributes:
        number: its number in the label maps.
        name: its name.
        category: its primary category.
        frequency: number of images that show it; 0 if not counted.
    """

    number: int
    name: str
    category: str
    frequency: int


def label_offsets(names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return category -> the label number before its first: numbers follow Broden's order.

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
        raise InputError(f"{total} labels: a label map holds numbers below 65536")
    return offsets
