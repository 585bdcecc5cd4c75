"""Random changes to training images, which leave their classes as they are."""

import torch
from torch.nn import functional

from ...core import Images

MAX_SHIFT = 8


def augment(images: Images, generator: torch.Generator) -> Images:
    """Mirror half of the images, shift each, and vary the brightness."""
    count, _, height, width = images.shape
    mirror = torch.rand(count, generator=generator) < 0.5
    images = torch.where(mirror.view(-1, 1, 1, 1), images.flip(3), images)
    padded = functional.pad(images, (MAX_SHIFT,) * 4, mode="replicate")
    corners = torch.randint(2 * MAX_SHIFT + 1, (count, 2), generator=generator).tolist()
    images = torch.stack(
        [
            image[:, y : y + height, x : x + width]
            for image, (y, x) in zip(padded, corners, strict=True)
        ]
    )
    return images * (0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator))


def add_noise(images: Images, limit: float, generator: torch.Generator) -> Images:
    """Add Gaussian noise to each image, with a random standard deviation up to `limit`.

    Fine detail is weak in natural images, so noise hides it first; kernels become smoother.

    Args:
        images: the images.
        limit: highest standard deviation.
        generator: of the random numbers.
    """
    std = limit * torch.rand(len(images), 1, 1, 1, generator=generator)
    return images + std * torch.randn(images.shape, generator=generator)


def cut_out(images: Images, fraction: float, generator: torch.Generator) -> Images:
    """Cover a square in a fraction of the images, so that no part of an object is always seen.

    Args:
        images: the images.
        fraction: of the images.
        generator: of the random numbers: which images, and the square's size (from 20 % to 50 % of
            the image's), center and color.

    Source: DeVries and Taylor 2017, with random colors.
    """
    count, channels, height, width = images.shape
    chosen, size, y, x = torch.rand(4, count, 1, 1, 1, generator=generator)
    colors = torch.rand(count, channels, 1, 1, generator=generator)
    half = (0.1 + 0.15 * size) * width
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    inside = ((rows - y * height).abs() < half) & ((columns - x * width).abs() < half)
    return torch.where(inside & (chosen < fraction), colors, images)
