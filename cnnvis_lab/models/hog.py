"""Differentiable histogram of oriented gradients (HOG) as a network, so that it can be inverted.

The values equal scikit-image's (`skimage.feature.hog`, block norm L2-Hys), where each gradient
votes for one of nine orientations. Such a vote has no derivative with respect to the orientation,
so the backward pass treats it as divided linearly between the two nearest orientations.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core import Float, Images
from ..data import images
from .model import Model
from .registry import load

ORIENTATIONS, CELL, BLOCK = 9, 8, 3


class Cells(nn.Module):
    """Histograms of gradient orientations in cells of 8x8 pixels."""

    def forward(self, images: Images) -> Float[Tensor, "n orientations rows columns"]:
        """Return the mean votes of each cell; incomplete cells at the border are left out."""
        dy, dx = _steepest_channel(*_gradients(images))
        # In flat regions neither magnitude nor angle has a derivative.
        flat = (dy == 0) & (dx == 0)
        size = torch.where(flat, 1.0, dy * dy + dx * dx).sqrt() * ~flat
        turn = torch.atan2(dy, torch.where(flat, torch.ones_like(dx), dx)) / math.pi
        votes = size.unsqueeze(1) * _orientation_votes(torch.remainder(turn, 1.0) * ORIENTATIONS)
        return functional.avg_pool2d(votes, CELL)


class Blocks(nn.Module):
    """Overlapping blocks of 3x3 cells, each normalized, clipped at 0.2 and normalized again."""

    def forward(self, cells: Float[Tensor, "n o rows columns"]) -> Float[Tensor, "n features"]:
        """Return features in scikit-image's order: block row, block column, cell, orientation."""
        blocks = cells.unfold(2, BLOCK, 1).unfold(3, BLOCK, 1)
        blocks = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)
        return _normalize(_normalize(blocks).clamp(max=0.2)).flatten(1)


def descriptor(size: int = 128, channels: int = 3) -> Model:
    """Return the descriptor as a network, with layers "cells" and "blocks".

    Args:
        size: height and width of the images, in pixels.
        channels: of the images.

    Source: Dalal and Triggs 2005; scikit-image's skimage.feature.hog.
    """
    layers: dict[str, nn.Module] = {"cells": Cells(), "blocks": Blocks()}
    net = nn.Sequential(OrderedDict(layers))
    plain = images.Normalization((0,) * channels, (1,) * channels)
    return load(net, input_size=size, channels=channels, normalization=plain)


def glyphs(
    cells: Float[Tensor, "n orientations rows columns"], size: int = 16
) -> Float[Tensor, "n height width"]:
    """Draw each cell as strokes along the edges, with brightness proportional to the votes.

    Args:
        cells: output of the layer "cells".
        size: height and width of a drawn cell, in pixels.
    """
    axis = torch.linspace(-1, 1, size)
    middles = (torch.arange(ORIENTATIONS) + 0.5) * math.pi / ORIENTATIONS
    # An edge is perpendicular to its gradient.
    across = middles.cos().view(-1, 1, 1) * axis + middles.sin().view(-1, 1, 1) * axis[:, None]
    strokes = ((across.abs() < 1.5 / size) & (axis**2 + axis[:, None] ** 2 <= 1)).float()
    glyph_images = torch.einsum("norc,oyx->nrycx", cells, strokes).flatten(3).flatten(1, 2)
    return glyph_images / glyph_images.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _gradients(images: Images) -> tuple[Images, Images]:
    """Return vertical and horizontal central differences; zero at the border."""
    down = functional.pad(images[:, :, 2:] - images[:, :, :-2], (0, 0, 1, 1))
    across = functional.pad(images[..., 2:] - images[..., :-2], (1, 1))
    return down, across


def _steepest_channel(dy: Images, dx: Images) -> tuple[Tensor, Tensor]:
    """Return, at each pixel, the gradient of the channel where it is largest."""
    channel = (dy * dy + dx * dx).argmax(1, keepdim=True)
    return dy.gather(1, channel).squeeze(1), dx.gather(1, channel).squeeze(1)


def _orientation_votes(orientation: Float[Tensor, "n h w"]) -> Float[Tensor, "n orientations h w"]:
    """Return votes for the bin of each orientation, divided linearly in the backward pass."""
    bins = torch.arange(ORIENTATIONS, device=orientation.device).view(1, -1, 1, 1)
    whole = (orientation.floor().unsqueeze(1) == bins).to(orientation)
    distance = (orientation.unsqueeze(1) - 0.5 - bins).abs()
    divided = (1 - torch.minimum(distance, ORIENTATIONS - distance)).clamp(min=0)
    return whole + divided - divided.detach()


def _normalize(blocks: Float[Tensor, "n y x features"]) -> Float[Tensor, "n y x features"]:
    return blocks / (blocks.square().sum(-1, keepdim=True) + 1e-5**2).sqrt()
