"""The whole numbers that IoU is made of: pixels of masks, of concepts, and of both."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.shapes import Bool, Int, UInt8
from ..data.broden import Label
from .dissection_masks import Active

# In which pictures a mask's pixels enter the union with a concept.
AREAS = ("category", "touched", "everywhere", "concept")


class Truth(NamedTuple):
    """What the pictures of a batch show, concepts numbered from 1 in the order of the labels.

    Attributes:
        layers: (layers, pictures * pixels) concept at each pixel, 0 for none; concepts that fill
            their picture are left out.
        whole: (pictures, concepts + 1) which concepts fill each picture.
        pixels: (pictures, concepts + 1) pixels of each concept in each picture, column 0 empty.
    """

    layers: Tensor
    whole: Tensor
    pixels: Tensor


def truth(
    maps: Int[Tensor, "n layers y x"] | UInt8[Tensor, "n layers y x"], numbers: Sequence[int]
) -> Truth:
    """Sort out the label maps of a batch.

    Args:
        maps: label numbers, 0 for none.
        numbers: the numbers of all concepts, rising; any other number counts as none.
    """
    layers = list(_in_order(maps.flatten(2).transpose(0, 1), numbers))
    counts = [_per_picture(layer, len(numbers)) for layer in layers]
    if (sum((count > 0).int() for count in counts) > 1).any():
        layers = _once(layers)
        counts = [_per_picture(layer, len(numbers)) for layer in layers]
    pixels = torch.stack(counts).sum(0)
    whole = pixels == math.prod(maps.shape[2:])
    varying = [
        layer.masked_fill((count == layer.shape[1]).any(1)[:, None], 0)
        for layer, count in zip(layers, counts, strict=True)
        if ((count > 0) & (count < layer.shape[1])).any()
    ]
    flat = torch.stack(varying).flatten(1) if varying else torch.empty(0, 0, dtype=torch.int64)
    return Truth(flat, whole, pixels)


def _per_picture(layer: Tensor, concepts: int) -> Int[Tensor, "n columns"]:
    """Count the pixels of each concept in each picture of one layer; column 0 stays empty."""
    rows = torch.arange(len(layer), dtype=torch.int32)[:, None] * (concepts + 1)
    counts = (rows + layer).flatten().bincount(minlength=len(layer) * (concepts + 1))
    counts = counts.view(len(layer), -1)
    counts[:, 0] = 0
    return counts


def _in_order(maps: Tensor, numbers: Sequence[int]) -> Tensor:
    """Turn label numbers into 1, 2, ... in their order, and what is no concept into 0."""
    highest = int(maps.max())
    if list(numbers) == list(range(1, len(numbers) + 1)) and highest <= len(numbers):
        return maps
    order = torch.zeros(max(*numbers, highest) + 1, dtype=torch.int32)
    order[list(numbers)] = torch.arange(1, len(numbers) + 1, dtype=torch.int32)
    return order[maps.long()]


def _once(layers: Sequence[Tensor]) -> list[Tensor]:
    """Blank what an earlier layer says already of the same pixel."""
    kept: list[Tensor] = []
    for layer in layers:
        for earlier in kept:
            layer = layer.masked_fill(layer == earlier, 0)
        kept.append(layer)
    return kept


class Counts:
    """Counted pixels of any part of a data set; parts merge by adding, in any order.

    Attributes:
        sums: name -> whole numbers. "pictures" and "pixels" (concepts,): in how many pictures each
            concept occurs and on how many label pixels. For each layer, "LAYER.both" (units,
            concepts): pixels that mask and concept share, and "LAYER.area" (units, groups): pixels
            of the mask in the pictures of each group; groups are categories, concepts or one.
    """

    def __init__(self, units: Mapping[str, int], labels: Iterable[Label], area: str) -> None:
        self.labels, self.area = tuple(labels), area
        self.numbers = [label.number for label in self.labels]
        self.group = groups(self.labels, area)
        columns, members = len(self.labels) + 1, int(self.group.max()) + 1
        shapes = {"pictures": (columns,), "pixels": (columns,)}
        for layer, count in units.items():
            shapes |= {f"{layer}.both": (count, columns), f"{layer}.area": (count, members)}
        self.sums = {name: torch.zeros(shape, dtype=torch.int64) for name, shape in shapes.items()}

    def add_truth(self, truth: Truth) -> None:
        """Count the concepts of a batch; once, whatever the number of layers."""
        self.sums["pictures"] += (truth.pixels > 0).sum(0)
        self.sums["pixels"] += truth.pixels.sum(0)

    def add_masks(self, layer: str, runs: Iterable[Active], truth: Truth) -> None:
        """Count the masks of a layer's units in a batch against what the pictures show."""
        both, area = self.sums[f"{layer}.both"], self.sums[f"{layer}.area"]
        units, columns = both.shape
        size = torch.zeros(len(truth.whole) * units, dtype=torch.int64)
        touched = torch.zeros(len(size), area.shape[1] + 1, dtype=torch.bool)
        for run in runs:
            plane = run.picture * units + run.unit
            size.scatter_add_(0, plane, run.number)
            row = (run.unit * columns).index_select(0, run.cell)
            for layer_truth in truth.layers:
                concept = layer_truth.index_select(0, run.pixel)
                key = row + concept
                both.view(-1).scatter_add_(0, key, key.new_ones(1).expand_as(key))
                if self.area == "touched":
                    touched[plane[run.cell], self.group[concept.long()]] = True
        size = size.view(-1, units)
        both += _exact_product(size, truth.whole)
        if self.area == "touched":
            met = touched.view(*size.shape, -1) | self._present(truth.whole)[:, None]
            area += (size[..., None] * met[..., :-1]).sum(0)
        else:
            area += _exact_product(size, self._present(truth.pixels > 0)[:, :-1])

    def _present(self, concepts: Bool[Tensor, "n concepts"]) -> Bool[Tensor, "n groups"]:
        """Say which groups occur in each picture, from which concepts do; the last is for none."""
        present = torch.zeros(len(concepts), int(self.group.max()) + 2, dtype=torch.bool)
        picture, concept = concepts.nonzero().unbind(1)
        present[picture, self.group[concept]] = True
        if self.area == "everywhere":
            present[:] = True
        return present

    def merge(self, other: "Counts") -> None:
        """Take in what was counted on other pictures."""
        for name, value in other.sums.items():
            self.sums[name] += value

    def state(self) -> dict[str, Tensor]:
        """Return the sums."""
        return self.sums


def groups(labels: Sequence[Label], area: str) -> Int[Tensor, " columns"]:
    """Return the group of each concept column; column 0, no concept, has one behind all others."""
    categories = list(dict.fromkeys(label.category for label in labels))
    by_area = {
        "everywhere": [0] * len(labels),
        "concept": list(range(len(labels))),
    }
    own = by_area.get(area) or [categories.index(label.category) for label in labels]
    return torch.tensor([-1, *own])


def _exact_product(size: Int[Tensor, "n units"], which: Bool[Tensor, "n columns"]) -> Tensor:
    """Sum the sizes over the pictures of each column; doubles hold whole numbers up to 2^53."""
    return (size.T.double() @ which.double()).long()
