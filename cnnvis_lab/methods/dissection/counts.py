"""Integer pixel counts from which IoU is computed: masks, concepts and their intersections."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Bool, Int, not_found
from ...data import Label
from .masks import ActivePixels

# Images whose mask pixels count in the union with a concept, see `Convention.area`.
AREAS = ("category", "touched", "everywhere", "concept")


class GroundTruth(NamedTuple):
    """The concepts in a batch of images, numbered from 1 in the order of the labels.

    Attributes:
        layers: each (images * pixels,), the concept at each pixel, 0 for none; concepts that
            fill their image are left out.
        filled: (images, concepts + 1) whether a concept fills the image.
        pixels: (images, concepts + 1) pixels of each concept in each image; column 0 is empty.
    """

    layers: list[np.ndarray]
    filled: np.ndarray
    pixels: np.ndarray


def ground_truth(maps: np.ndarray, numbers: Sequence[int]) -> GroundTruth:
    """Return the concepts in a batch of label maps.

    Args:
        maps: (n, layers, y, x) label numbers, 0 for none.
        numbers: the label numbers of all concepts, in increasing order; others count as none.
    """
    size = math.prod(maps.shape[2:])
    layers = list(_to_columns(maps.reshape(*maps.shape[:2], size).swapaxes(0, 1), numbers))
    counts = [_pixels_per_image(layer, len(numbers)) for layer in layers]
    if (np.sum([count > 0 for count in counts], axis=0) > 1).any():
        layers = _without_repeats(layers)
        counts = [_pixels_per_image(layer, len(numbers)) for layer in layers]
    varying = []
    for layer, count in zip(layers, counts, strict=True):
        if ((count > 0) & (count < size)).any():
            uniform = (count == size).any(1)
            varying.append(np.where(uniform[:, None], 0, layer).ravel())
    pixels = np.sum(counts, axis=0)
    return GroundTruth(varying, pixels == size, pixels)


def _pixels_per_image(layer: np.ndarray, concepts: int) -> Int[np.ndarray, "n columns"]:
    """Count the pixels of each concept in each image of one layer; column 0 stays empty."""
    rows = np.arange(len(layer), dtype=np.int32)[:, None] * (concepts + 1)
    counts = np.bincount((rows + layer).ravel(), minlength=len(layer) * (concepts + 1))
    counts = counts.reshape(len(layer), -1)
    counts[:, 0] = 0
    return counts


def _to_columns(maps: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
    """Replace label numbers by their ranks 1, 2, ..., and unlisted numbers by 0."""
    highest = int(maps.max())
    if list(numbers) == list(range(1, len(numbers) + 1)) and highest <= len(numbers):
        return maps
    columns = np.zeros(max(*numbers, highest) + 1, dtype=np.int32)
    columns[list(numbers)] = np.arange(1, len(numbers) + 1)
    return columns[maps]


def _without_repeats(layers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Set pixels to 0 where an earlier layer already contains the same concept."""
    distinct: list[np.ndarray] = []
    for layer in layers:
        for earlier in distinct:
            layer = np.where(layer == earlier, 0, layer)
        distinct.append(layer)
    return distinct


class Counts:
    """Pixel counts over any part of a dataset; parts merge by addition, in any order.

    Attributes:
        labels: the concepts, by increasing number.
        numbers: their numbers in the label maps.
        area: one of `AREAS`.
        group: (concepts + 1,) the group of each concept, see `concept_groups`; -1 for column 0.
        sums: name -> integer counts. "images" and "pixels" (concepts + 1,): the number of images
            that show each concept, and of its label pixels. For each layer, "LAYER.intersection"
            (units, concepts + 1): pixels in both mask and concept, and "LAYER.area" (units,
            groups): pixels of the mask in the images of each group.
    """

    def __init__(self, units: Mapping[str, int], labels: Iterable[Label], area: str) -> None:
        self.labels, self.area = tuple(labels), area
        self.numbers = [label.number for label in self.labels]
        self.group = concept_groups(self.labels, area)
        columns, groups = len(self.labels) + 1, int(self.group.max()) + 1
        shapes = {"images": (columns,), "pixels": (columns,)}
        for layer, count in units.items():
            shapes |= {f"{layer}.intersection": (count, columns), f"{layer}.area": (count, groups)}
        self.sums = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in shapes.items()}

    def add_truth(self, truth: GroundTruth) -> None:
        """Count the concepts of a batch; call this once per batch, not once per layer."""
        self.sums["images"] += torch.from_numpy((truth.pixels > 0).sum(0))
        self.sums["pixels"] += torch.from_numpy(truth.pixels.sum(0))

    def add_masks(self, layer: str, chunks: Iterable[ActivePixels], truth: GroundTruth) -> None:
        """Count the masks of a layer's units in a batch against the concepts of its images.

        Args:
            layer: the layer.
            chunks: the pixels of the masks.
            truth: the concepts in the same images.
        """
        intersection, area = (
            self.sums[f"{layer}.{name}"].numpy() for name in ("intersection", "area")
        )
        (units, columns), images = intersection.shape, len(truth.filled)
        size = np.zeros(images * units, dtype=np.int64)
        touched = np.zeros((len(size), area.shape[1] + 1), dtype=bool)
        for chunk in chunks:
            np.add.at(size, chunk.channel, chunk.count)
            row = (chunk.channel % units * columns).take(chunk.cell)
            for labels in truth.layers:
                concept = labels.take(chunk.pixel)
                np.add.at(intersection.reshape(-1), row + concept, 1)
                if self.area == "touched":
                    touched[chunk.channel.take(chunk.cell), self.group.take(concept)] = True
        size = size.reshape(images, units)
        intersection += _exact_product(size, truth.filled)
        present = self._present(truth.filled if self.area == "touched" else truth.pixels > 0)
        if self.area == "touched":
            met = touched[:, :-1].reshape(images, units, -1) | present[:, None]
            area += (size[..., None] * met).sum(0)
        else:
            area += _exact_product(size, present)

    def _present(self, concepts: Bool[np.ndarray, "n concepts"]) -> Bool[np.ndarray, "n groups"]:
        """Return which groups occur in each image, given its concepts."""
        present = np.zeros((len(concepts), int(self.group.max()) + 1), dtype=bool)
        image, concept = concepts[:, 1:].nonzero()
        present[image, self.group[concept + 1]] = True
        return present | (self.area == "everywhere")

    def merge(self, other: "Counts") -> None:
        """Add the counts of other images."""
        for name, value in other.sums.items():
            self.sums[name] += value

    def union(self, layer: str) -> Int[Tensor, "units concepts"]:
        """Return the pixels in the union of each unit's mask with each concept."""
        area = self.mask_pixels(layer)
        return area + self.sums["pixels"][1:] - self.sums[f"{layer}.intersection"][:, 1:]

    def mask_pixels(self, layer: str) -> Int[Tensor, "units concepts"]:
        """Return the pixels of each unit's mask within the images that count for each concept."""
        return self.sums[f"{layer}.area"][:, torch.from_numpy(self.group[1:])]


def concept_groups(labels: Sequence[Label], area: str) -> Int[np.ndarray, " columns"]:
    """Return the group of each concept; the same images count for all concepts of a group."""
    if area not in AREAS:
        raise not_found("area", area, AREAS)
    categories = list(dict.fromkeys(label.category for label in labels))
    by_category = [categories.index(label.category) for label in labels]
    by_area = {"everywhere": [0] * len(labels), "concept": list(range(len(labels)))}
    return np.array([-1, *by_area.get(area, by_category)])


def _exact_product(
    size: Int[np.ndarray, "n units"], included: Bool[np.ndarray, "n columns"]
) -> Int[np.ndarray, "units columns"]:
    """Sum sizes over the images of each column; float64 holds integers up to 2^53 exactly."""
    return (size.T.astype(np.float64) @ included.astype(np.float64)).astype(np.int64)
