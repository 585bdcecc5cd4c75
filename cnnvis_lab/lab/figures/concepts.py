"""Images of units and concepts: outlined masks, and overlaps of two masks."""

import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch.nn.functional import max_pool2d

from ...data import images
from .style import COLORS, Array, to_numpy

OVERLAP_COLORS = {"unit only": COLORS[1], "concept only": COLORS[0], "both": "#ffffff"}
MASKED_SIZE = 128  # of an image with an outlined region, in pixels, at least
OUTLINE_COLOR, OUTSIDE_BRIGHTNESS = "#FFE600", 0.35


def masked_image(image: Array, mask: Array) -> np.ndarray:
    """Outline a region of an image and dim the rest, so that it is seen on any image.

    The outline lies outside the region, on dimmed pixels, where its color always stands out.

    Args:
        image: (3, h, w) in [0, 1].
        mask: (y, x), of any resolution.

    Returns:
        The image (3, y, x), enlarged by a whole factor if it is small.
    """
    image, mask = to_numpy(image), to_numpy(mask).astype(bool)
    repeats = -(-MASKED_SIZE // max(image.shape[1:]))
    large = image.repeat(repeats, 1).repeat(repeats, 2)
    inside = images.resize_nearest(mask, (large.shape[1], large.shape[2]))
    width = max(large.shape[1:]) // 64
    grown = max_pool2d(torch.from_numpy(inside)[None].float(), 2 * width + 1, 1, width)[0] > 0
    outline = grown.numpy() & ~inside
    color = np.array(to_rgb(OUTLINE_COLOR), dtype=large.dtype)[:, None, None]
    return np.where(outline, color, np.where(inside, large, OUTSIDE_BRIGHTNESS * large))


def overlap_image(mask: Array, concept: Array) -> np.ndarray:
    """Color a mask (y, x) orange, a concept blue, and their overlap white: (3, y, x)."""
    colors = [to_rgb(color) for color in ("#1a1a1a", *OVERLAP_COLORS.values())]
    both = to_numpy(mask).astype(int) + 2 * to_numpy(concept).astype(int)
    return np.array(colors)[both].transpose(2, 0, 1)
