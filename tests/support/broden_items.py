"""Small random items for Broden folders, and a check that a call is refused in one line."""

from collections.abc import Callable

import numpy as np
import pytest

from cnnvis_lab.core import FileError, LabError
from cnnvis_lab.data.broden import Broden, Item

RANDOM = np.random.default_rng(0)


NAMES = {"object": ("cat", "dog", "sky"), "scene": ("street",), "texture": ("dotted", "woven")}


def item(
    name: str, split: str = "train", shape: tuple[int, int] = (6, 8), **labels: np.ndarray | int
) -> Item:
    return Item(name, RANDOM.integers(0, 256, (*shape, 3), dtype=np.uint8), split, labels)


def items_of_three() -> list[Item]:
    maps = RANDOM.integers(0, 4, (3, 6, 8))
    maps[:, 0, 0] = 1, 2, 3
    splits = ("train", "val", "train")
    return [
        item(name, split, object=label_map, scene=1)
        for name, split, label_map in zip("abc", splits, maps, strict=True)
    ]


def assert_refused(
    match: str, call: Callable, *args: object, kind: type[LabError] = FileError
) -> None:
    with pytest.raises(kind, match=match) as caught:
        call(*args)
    assert "\n" not in str(caught.value)


def count_readable(folder: Broden) -> int:
    """Read every image and label map; return the number of images."""
    for index in range(len(folder)):
        folder.read_image(index)
        folder.read_labels(index)
    return len(folder)
