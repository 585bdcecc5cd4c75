"""The whole numbers that IoU is made of: pixels of masks, of concepts, and of both."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Bool, Int, not_found
from ...data import Label
from .masks import ActivePixels

# In which pictures a mask's pixels enter the union with a concept.
AREAS = ("category", "touched", "everywhere", "concept")


class GroundTruth(NamedTuple):
    """What the pictures of a batch show, concepts numbered from 1 in the order of the labels.

    Attributes:
        layers: each (pictures * pixels,), the concept at each pixel, 0 for none; concepts that
            fill their picture are left out.
        whole: (pictures, concepts + 1) which concepts fill each picture.
        pixels: (pictures, concepts + 1) pixels of each concept in each picture, column 0 empty.
    """

    layers: list[np.ndarray]
    whole: np.ndarray
    pixels: np.ndarray


def ground_truth(maps: np.ndarray, numbers: Sequence[int]) -> GroundTruth:
    """Sort out the label maps of a batch.

    Args:
        maps: (n, layers, y, x) label numbers, 0 for none.
        numbers: the numbers of all concepts, rising; any other number counts as none.
    """
    size = math.prod(maps.shape[2:])
    layers = list(_to_columns(maps.reshape(*maps.shape[:2], size).swapaxes(0, 1), numbers))
    counts = [_pixels_per_image(layer, len(numbers)) for layer in layers]
    if (sum((count > 0).astype(int) for count in counts) > 1).any():
        layers = _without_repeats(layers)
        counts = [_pixels_per_image(layer, len(numbers)) for layer in layers]
    varying = []
    for layer, count in zip(layers, counts, strict=True):
        if ((count > 0) & (count < size)).any():
            filled = (count == size).any(1)
            varying.append((np.where(filled[:, None], 0, layer) if filled.any() else layer).ravel())
    pixels = np.sum(counts, axis=0)
    return GroundTruth(varying, pixels == size, pixels)


def _pixels_per_image(layer: np.ndarray, concepts: int) -> Int[np.ndarray, "n columns"]:
    """Count the pixels of each concept in each picture of one layer; column 0 stays empty."""
    rows = np.arange(len(layer), dtype=np.int32)[:, None] * (concepts + 1)
    counts = np.bincount((rows + layer).ravel(), minlength=len(layer) * (concepts + 1))
    counts = counts.reshape(len(layer), -1)
    counts[:, 0] = 0
    return counts


def _to_columns(maps: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Turn label numbers into 1, 2, ... in their order, and what is no concept into 0."""
    highest = int(maps.max())
    if list(numbers) == list(range(1, len(numbers) + 1)) and highest <= len(numbers):
        return maps
    order = np.zeros(max(*numbers, highest) + 1, dtype=np.int32)
    order[list(numbers)] = np.arange(1, len(numbers) + 1)
    return order[maps]


def _without_repeats(layers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Blank what an earlier layer says already of the same pixel."""
    kept: list[np.ndarray] = []
    for layer in layers:
        for earlier in kept:
            layer = np.where(layer == earlier, 0, layer)
        kept.append(layer)
    return kept


class Counts:
    """Counted pixels of any part of a data set; parts merge by adding, in any order.

    Attributes:
        labels: the concepts, by rising number.
        numbers: their numbers in the label maps.
        area: one of `AREAS`.
        group: (concepts + 1,) the group of each concept; -1 for no concept, column 0.
        sums: name -> whole numbers. "pictures" and "pixels" (concepts + 1,): in how many pictures
            each concept occurs and on how many label pixels. For each layer, "LAYER.both" (units,
            concepts + 1): pixels that mask and concept share, and "LAYER.area" (units, groups):
            pixels of the mask in the pictures of each group.
    """

    def __init__(self, units: Mapping[str, int], labels: Iterable[Label], area: str) -> None:
        self.labels, self.area = tuple(labels), area
        self.numbers = [label.number for label in self.labels]
        self.group = concept_groups(self.labels, area)
        columns, members = len(self.labels) + 1, int(self.group.max()) + 1
        shapes = {"pictures": (columns,), "pixels": (columns,)}
        for layer, count in units.items():
            shapes |= {f"{layer}.both": (count, columns), f"{layer}.area": (count, members)}
        self.sums = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in shapes.items()}

    def add_truth(self, truth: GroundTruth) -> None:
        """Count the concepts of a batch; once, whatever the number of layers."""
        self.sums["pictures"] += torch.from_numpy((truth.pixels > 0).sum(0))
        self.sums["pixels"] += torch.from_numpy(truth.pixels.sum(0))

    def add_masks(self, layer: str, parts: Iterable[ActivePixels], truth: GroundTruth) -> None:
        """Count the masks of a layer's units in a batch against what the pictures show."""
        both, area = (self.sums[f"{layer}.{name}"].numpy() for name in ("both", "area"))
        (units, columns), pictures = both.shape, len(truth.whole)
        size = np.zeros(pictures * units, dtype=np.int64)
        touched = np.zeros((len(size), area.shape[1] + 1), dtype=bool)
        for part in parts:
            np.add.at(size, part.plane, part.number)
            row = (part.plane % units * columns).take(part.cell)
            for shown in truth.layers:
                concept = shown.take(part.pixel)
                np.add.at(both.reshape(-1), row + concept, 1)
                if self.area == "touched":
                    touched[part.plane.take(part.cell), self.group.take(concept)] = True
        size = size.reshape(pictures, units)
        both += _exact_product(size, truth.whole)
        present = self._present(truth.whole if self.area == "touched" else truth.pixels > 0)
        if self.area == "touched":
            met = touched[:, :-1].reshape(pictures, units, -1) | present[:, None]
            area += (size[..., None] * met).sum(0)
        else:
            area += _exact_product(size, present)

    def _present(self, concepts: Bool[np.ndarray, "n concepts"]) -> Bool[np.ndarray, "n groups"]:
        """Say which groups occur in each picture, from which concepts do."""
        present = np.zeros((len(concepts), int(self.group.max()) + 1), dtype=bool)
        picture, concept = concepts[:, 1:].nonzero()
        present[picture, self.group[concept + 1]] = True
        return present | (self.area == "everywhere")

    def merge(self, other: "Counts") -> None:
        """Take in what was counted on other pictures."""
        for name, value in other.sums.items():
            self.sums[name] += value

    def state(self) -> dict[str, Tensor]:
        """Return the sums."""
        return self.sums


def concept_groups(labels: Sequence[Label], area: str) -> Int[np.ndarray, " columns"]:
    """Return the group of each concept column: of those that share a denominator's pictures."""
    if area not in AREAS:
        raise not_found("area", area, AREAS)
    categories = list(dict.fromkeys(label.category for label in labels))
    own = [categories.index(label.category) for label in labels]
    by_area = {"everywhere": [0] * len(own), "concept": list(range(len(own)))}
    return np.array([-1, *by_area.get(area, own)])


def _exact_product(
    size: Int[np.ndarray, "n units"], which: Bool[np.ndarray, "n columns"]
) -> Int[np.ndarray, "units columns"]:
    """Sum the sizes over the pictures of each column; doubles hold whole numbers up to 2^53."""
    return (size.T.astype(np.float64) @ which.astype(np.float64)).astype(np.int64)
