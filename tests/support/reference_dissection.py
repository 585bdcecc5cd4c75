"""A small labeled dataset, a small network, and a slow reference dissection."""

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
class LabelledTensors:
    """Images and label maps given as tensors."""

    images: Tensor
    maps: Tensor
    labels: dict[int, Label]
    read: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        self.read += len(indices)
        return self.images[list(indices)]

    def label_maps(self, indices: Sequence[int]) -> Tensor:
        return self.maps[list(indices)]


def random_data(count: int = 20, size: int = 32, seed: int = 0) -> LabelledTensors:
    """Return noise with random labels, of which some fill the image and some are absent."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, size, size, generator=generator)
    half, numbers = size // 2, torch.tensor([0, *LABELS])
    coarse = torch.randint(0, 4, (count, 4, half // 4, half // 4), generator=generator)
    blocks = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    maps = torch.zeros(count, 4, half, half, dtype=torch.int32)
    maps[:, 0] = numbers[[0, 1, 2, 0]][blocks[:, 0]]
    maps[:, 1] = numbers[[0, 3, 4, 3]][blocks[:, 1]]
    maps[:, 2] = numbers[[0, 4, 0, 0]][blocks[:, 2]]
    maps[::3, 3] = numbers[5]
    maps[1::3, 3] = numbers[6]
    maps[::4, :3] = 0
    return LabelledTensors(images, maps, dict(LABELS))


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


def slow_threshold(values: np.ndarray, fraction: float) -> np.float32:
    """Sort all values; return the upper end of the 16-bit bucket of the value at the rank."""
    value = np.sort(values.ravel())[math.ceil((1 - fraction) * values.size) - 1]
    bits = np.float32(value).view(np.uint32)
    upper_end = bits | np.uint32(0xFFFF) if value >= 0 else bits & np.uint32(0xFFFF0000)
    return upper_end.view(np.float32)


def slow_positions(kind: str, field: tuple[int, int, int], positions: int, size: int) -> np.ndarray:
    """Return the position of each map element on a label map of `size` // 2 pixels."""
    width, stride, offset = field
    k, labels = np.arange(positions), size // 2
    return {
        "fields": (offset + width // 2) // 2 + k * stride / 2,
        "exact fields": (offset + (width - 1) / 2 + k * stride) * (labels - 1) / (size - 1),
        "pixels": (k + 0.5) * labels / positions - 0.5,
        "corners": k * (labels - 1) / max(positions - 1, 1),
    }[kind]


def slow_upsample(one: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Interpolate one square map; outside, `np.interp` repeats the edge."""
    pixels = np.arange(size)
    rows = np.array([np.interp(pixels, positions, row) for row in one])
    return np.array([np.interp(pixels, positions, column) for column in rows.T]).T


def slow_counts(
    net: nn.Module, data: LabelledTensors, layer: str, convention
) -> dict[str, np.ndarray]:
    """Dissect one layer unit by unit and image by image; concepts in the order of LABELS."""
    acts = hooks.activations(net, data.images, [layer])[layer].double().numpy()
    units, size = acts.shape[1], data.images.shape[-1]
    field = receptive_fields(net, [layer], size)[layer]
    positions = slow_positions(convention.grid, [part[0] for part in field], acts.shape[-1], size)
    up = np.array([[slow_upsample(m, positions, size // 2) for m in maps] for maps in acts])
    labels = data.maps.numpy()
    counts = {
        name: np.zeros((units, len(LABELS)), dtype=np.int64)
        for name in ("intersection", "mask_pixels")
    }
    counts["thresholds"] = np.zeros(units, dtype=np.float32)
    for unit in range(units):
        source = up if convention.upsampled else acts
        threshold = slow_threshold(source[:, unit].astype(np.float32), convention.quantile)
        counts["thresholds"][unit] = threshold
        for index in range(len(data)):
            mask = up[index, unit] > threshold
            if convention.binary:
                on = (acts[index, unit] > threshold).astype(float)
                mask = slow_upsample(on, positions, size // 2) > 0.5
            shown = {n: (labels[index] == n).any(0) for n in LABELS}
            for column, number in enumerate(LABELS):
                kind = LABELS[number].category
                same_category = [shown[n] for n in LABELS if LABELS[n].category == kind]
                is_counted = {
                    "category": any(other.any() for other in same_category),
                    "touched": any((other & mask).any() for other in same_category),
                    "everywhere": True,
                    "concept": shown[number].any(),
                }[convention.area]
                counts["intersection"][unit, column] += (mask & shown[number]).sum()
                counts["mask_pixels"][unit, column] += mask.sum() * is_counted
    shown = [(labels == number).any(1) for number in LABELS]
    counts["concept_pixels"] = np.array([mask.sum() for mask in shown])
    counts["concept_images"] = np.array([mask.any((1, 2)).sum() for mask in shown])
    return counts


def columns_of(prepared, *names: str) -> list[int]:
    """Return the columns of concepts of a prepared set by their names."""
    known = [concept.name for concept in prepared.concepts]
    return [known.index(name) for name in names]
