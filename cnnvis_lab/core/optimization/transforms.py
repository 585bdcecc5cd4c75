"""Random transformations of what the network sees, and operators that change the image itself.

A transformation draws its random numbers once per step and applies them to the whole batch, so that
the result for an image does not depend on the other images. Random numbers are drawn on the CPU,
so that they are the same on every device.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError

Transform = Callable[[Tensor, torch.Generator], Tensor]
Operator = Callable[[Tensor, Tensor, int], Tensor]


def _random_below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))


def compose(*steps: Transform) -> Transform:
    """Apply transformations one after the other."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        for step in steps:
            images = step(images, generator)
        return images

    return transform


def pad(border: int, value: float | Literal["reflect"] = 0.5) -> Transform:
    """Add a border of `border` pixels: a constant value, or "reflect"."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        if value == "reflect":
            return functional.pad(images, (border,) * 4, mode="reflect")
        return functional.pad(images, (border,) * 4, value=value)

    return transform


def jitter(reach: int) -> Transform:
    """Crop a window `reach` pixels smaller than the image, at a random position."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        y, x = _random_below(reach + 1, generator), _random_below(reach + 1, generator)
        height, width = images.shape[-2:]
        if min(height, width) <= reach:
            raise InputError(
                f"jitter of {reach} pixels on a canvas of {height}x{width}; pad it first"
            )
        return images[..., y : y + height - reach, x : x + width - reach]

    return transform


def roll(reach: int) -> Transform:
    """Shift cyclically by up to `reach` pixels in each direction."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        shifts = [_random_below(2 * reach + 1, generator) - reach for _ in range(2)]
        return images.roll(shifts, (-2, -1))

    return transform


def scale(factors: Sequence[float]) -> Transform:
    """Resize by a random one of the factors, bilinearly."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        factor = factors[_random_below(len(factors), generator)]
        size = [max(round(length * factor), 1) for length in images.shape[-2:]]
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)

    return transform


def rotate(degrees: Sequence[float]) -> Transform:
    """Rotate about the center by a random one of the angles, bilinearly, with gray outside."""

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        angle = math.radians(degrees[_random_below(len(degrees), generator)])
        if angle == 0:
            return images
        height, width = images.shape[-2:]
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos, -sin * height / width, 0], [sin * width / height, cos, 0]])
        turn = turn.to(images).expand(len(images), 2, 3)
        grid = functional.affine_grid(turn, list(images.shape), align_corners=False)
        # Gray is subtracted first, so that the zeros outside become gray.
        return functional.grid_sample(images - 0.5, grid, align_corners=False) + 0.5

    return transform


def fit(size: int | tuple[int, int]) -> Transform:
    """Crop larger images to the center of a given size; pad smaller ones with gray."""
    height, width = (size, size) if isinstance(size, int) else size

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        down, right = height - images.shape[-2], width - images.shape[-1]
        border = (right // 2, right - right // 2, down // 2, down - down // 2)
        return functional.pad(images, border, value=0.5)  # negative borders crop

    return transform


# lucid's standard set (transform.py): pad 12, jitter 8, scales 0.9 to 1.1, -10 to 10 degrees with
# five more zeros, jitter 4.
LUCID = compose(
    pad(12),
    jitter(8),
    scale([1 + (i - 5) / 50 for i in range(11)]),
    rotate([*range(-10, 11), *[0] * 5]),
    jitter(4),
)


def decay(rate: float) -> Operator:
    """Move every pixel toward gray by a fraction of its distance (Yosinski et al. 2015)."""
    return lambda images, gradient, step: 0.5 + (images - 0.5) * (1 - rate)


def gaussian_blur(sigma: float, every: int = 1) -> Operator:
    """Blur by `sigma` pixels at every `every`-th step (Yosinski et al. 2015)."""
    if sigma <= 0 or every < 1:
        raise InputError(f"blur of {sigma} pixels every {every} steps; omit the blur instead")
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()

    def operator(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        if step % every:
            return images
        line = kernel.to(images).expand(images.shape[1], 1, 1, -1)
        images = functional.pad(images, (reach,) * 4, mode="replicate")
        images = functional.conv2d(images, line, groups=images.shape[1])
        return functional.conv2d(images, line.mT, groups=images.shape[1])

    return operator


def _gray_out_lowest(images: Tensor, score: Tensor, percentile: float) -> Tensor:
    """Set pixels whose score (n, h, w) is below the image's own percentile to gray."""
    limit = torch.quantile(score.flatten(1), percentile / 100, dim=1).view(-1, 1, 1)
    return torch.where((score < limit).unsqueeze(1), torch.full_like(images, 0.5), images)


def clip_small_norm(percentile: float) -> Operator:
    """Set the `percentile` % of pixels that are nearest to gray to gray (Yosinski et al. 2015)."""
    return lambda images, gradient, step: _gray_out_lowest(
        images, (images - 0.5).norm(dim=1), percentile
    )


def clip_small_contribution(percentile: float) -> Operator:
    """Set the pixels with the smallest |sum over channels of (x - gray) * gradient| to gray."""
    return lambda images, gradient, step: _gray_out_lowest(
        images, ((images - 0.5) * gradient).sum(1).abs(), percentile
    )
