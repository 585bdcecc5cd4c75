"""A small labeled data set, a small network, and a slow reference dissection."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cnnvis_lab.core import hooks
from cnnvis_lab.core.receptive_field import receptive_fields
from cnnvis_lab.data import Label

NAMES = ("red", "blue", "dog", "leg", "street", "striped")
KINDS = ("color", "color", "object", "part", "scene", "texture")
LABELS = {
    3 * i + 2: Label(3 * i + 2, *row, 0) for i, row in enumerate(zip(NAMES, KINDS, strict=True))
}


@dataclass
class Made:
    """Images and label maps given as tensors."""

    pictures: Tensor
    maps: Tensor
    labels: dict[int, Label]
    read: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, indices: Sequence[int]) -> Tensor:
        self.read += len(indices)
        return self.pictures[list(indices)]

    def label_maps(self, indices: Sequence[int]) -> Tensor:
        return self.maps[list(indices)]


def made(count: int = 20, side: int = 32, seed: int = 0) -> Made:
    """Noise with random labels: some fill the image, some occur in two layers, some are absent."""
    rng = torch.Generator().manual_seed(seed)
    pictures = torch.rand(count, 3, side, side, generator=rng)
    half, numbers = side // 2, torch.tensor([0, *LABELS])
    coarse = torch.randint(0, 4, (count, 4, half // 4, half // 4), generator=rng)
    blocks = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    maps = torch.zeros(count, 4, half, half, dtype=torch.int32)
    maps[:, 0] = numbers[[0, 1, 2, 0]][blocks[:, 0]]
    maps[:, 1] = numbers[[0, 3, 4, 3]][blocks[:, 1]]
    maps[:, 2] = numbers[[0, 4, 0, 0]][blocks[:, 2]]
    maps[::3, 3] = numbers[5]
    maps[1::3, 3] = numbers[6]
    maps[::4, :3] = 0
    return Made(pictures, maps, dict(LABELS))


def small_net(seed: int = 0, *, exact: bool = False) -> nn.Module:
    """Two padded convolutions with strides, ReLUs, pooling, and a fully connected layer.

    With exact=True, weights have few bits, so that images of few bits cause no rounding.
    """
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(5, 7, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(7, 4),
    )
    net.eval().requires_grad_(False)
    for weights in net.parameters() if exact else ():
        weights.mul_(16).round_().div_(16)
    return net


def slow_threshold(values: np.ndarray, share: float) -> np.float32:
    """Sort everything; take the upper end of the 16-bit bucket of the value at the rank."""
    value = np.sort(values.ravel())[math.ceil((1 - share) * values.size) - 1]
    bits = np.float32(value).view(np.uint32)
    ends = bits | np.uint32(0xFFFF) if value >= 0 else bits & np.uint32(0xFFFF0000)
    return ends.view(np.float32)


def slow_places(kind: str, field: tuple[int, int, int], positions: int, side: int) -> np.ndarray:
    """The position of each map element in `side` // 2 label pixels."""
    size, stride, offset = field
    k, labels = np.arange(positions), side // 2
    return {
        "fields": (offset + size // 2) // 2 + k * stride / 2,
        "exact fields": (offset + (size - 1) / 2 + k * stride) * (labels - 1) / (side - 1),
        "pixels": (k + 0.5) * labels / positions - 0.5,
        "corners": k * (labels - 1) / max(positions - 1, 1),
    }[kind]


def slow_upsample(one: np.ndarray, places: np.ndarray, side: int) -> np.ndarray:
    """Interpolate one square map; outside, `np.interp` repeats the edge."""
    pixels = np.arange(side)
    wide = np.array([np.interp(pixels, places, row) for row in one])
    return np.array([np.interp(pixels, places, column) for column in wide.T]).T


def slow_counts(net: nn.Module, data: Made, layer: str, convention) -> dict[str, np.ndarray]:
    """Dissect one layer unit by unit and image by image; concepts in the order of LABELS."""
    acts = hooks.activations(net, data.pictures, [layer])[layer].double().numpy()
    units, side = acts.shape[1], data.pictures.shape[-1]
    field = receptive_fields(net, [layer], side)[layer]
    places = slow_places(convention.grid, [part[0] for part in field], acts.shape[-1], side)
    up = np.array([[slow_upsample(m, places, side // 2) for m in picture] for picture in acts])
    labels = data.maps.numpy()
    found = {
        name: np.zeros((units, len(LABELS)), dtype=np.int64)
        for name in ("intersection", "mask_pixels")
    }
    found["thresholds"] = np.zeros(units, dtype=np.float32)
    for unit in range(units):
        source = up if convention.upsampled else acts
        threshold = slow_threshold(source[:, unit].astype(np.float32), convention.quantile)
        found["thresholds"][unit] = threshold
        for picture in range(len(data)):
            mask = up[picture, unit] > threshold
            if convention.binary:
                on = (acts[picture, unit] > threshold).astype(float)
                mask = slow_upsample(on, places, side // 2) > 0.5
            shown = {n: (labels[picture] == n).any(0) for n in LABELS}
            for column, number in enumerate(LABELS):
                kind = LABELS[number].category
                alike = [shown[n] for n in LABELS if LABELS[n].category == kind]
                counts = {
                    "category": any(other.any() for other in alike),
                    "touched": any((other & mask).any() for other in alike),
                    "everywhere": True,
                    "concept": shown[number].any(),
                }[convention.area]
                found["intersection"][unit, column] += (mask & shown[number]).sum()
                found["mask_pixels"][unit, column] += mask.sum() * counts
    shown = [(labels == number).any(1) for number in LABELS]
    found["concept_pixels"] = np.array([mask.sum() for mask in shown])
    found["concept_images"] = np.array([mask.any((1, 2)).sum() for mask in shown])
    return found


def columns_of(prepared, *names: str) -> list[int]:
    """Return the columns of concepts of a prepared set by their names."""
    known = [concept.name for concept in prepared.concepts]
    return [known.index(name) for name in names]
