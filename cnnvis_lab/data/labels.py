"""Broden's concept labels: their type, the six categories and their numbering."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core import InputError

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")


class Label(NamedTuple):
    """A concept: its number in the maps, name, primary category, pictures that show it."""

    number: int
    name: str
    category: str
    frequency: int


def label_offsets(names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Label numbers run through the categories in Broden's order; the same for any folder."""
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
