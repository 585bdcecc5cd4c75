"""A differentiable histogram of oriented gradients, so that inversion can look back at it.

The values are scikit-image's (`skimage.feature.hog`, block norm L2-Hys). There each gradient votes
for one of nine orientations, which gives orientation no slope to follow; the backward pass here
takes the vote as shared linearly between the two nearest orientations.
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
        """Return the mean votes of each cell; cells that do not fit whole are left out."""
        dy, dx = _steepest_channel(*_gradients(images))
        # Somewhere flat the root has no slope and the angle none either.
        flat = (dy == 0) & (dx == 0)
        size = torch.where(flat, 1.0, dy * dy + dx * dx).sqrt() * ~flat
        turn = torch.atan2(dy, torch.where(flat, torch.ones_like(dx), dx)) / math.pi
        votes = size.unsqueeze(1) * _orientation_votes(torch.remainder(turn, 1.0) * ORIENTATIONS)
        return functional.avg_pool2d(votes, CELL)


class Blocks(nn.Module):
    """Overlapping blocks of 3x3 cells, each normalised, cut at 0.2 and normalised again."""

    def forward(self, cells: Float[Tensor, "n o rows columns"]) -> Float[Tensor, "n features"]:
        """Return them in scikit-image's order: block row, block column, cell, orientation."""
        blocks = cells.unfold(2, BLOCK, 1).unfold(3, BLOCK, 1)
        blocks = blocks.permute(0, 2, 3, 4, 5, 1).flatten(3)
        return _normalize(_normalize(blocks).clamp(max=0.2)).flatten(1)


def descriptor(size: int = 128) -> Model:
    """Return the descriptor as a network, with layers "cells" and "blocks".

    Args:
        size: side of the pictures, in pixels.

    Source: Dalal and Triggs 2005; scikit-image's skimage.feature.hog.
    """
    net = nn.Sequential(OrderedDict(cells=Cells(), blocks=Blocks()))
    return load(net, input_size=size, normalization=images.Normalization((0, 0, 0), (1, 1, 1)))


def glyphs(
    cells: Float[Tensor, "n orientations rows columns"], side: int = 16
) -> Float[Tensor, "n height width"]:
    """Draw each cell as strokes along its edges, as bright as their votes (the usual picture).

    Args:
        cells: what "cells" gives.
        side: of a cell's picture, in pixels.
    """
    axis = torch.linspace(-1, 1, side)
    middles = (torch.arange(ORIENTATIONS) + 0.5) * math.pi / ORIENTATIONS
    # An edge runs across its gradient.
    across = middles.cos().view(-1, 1, 1) * axis + middles.sin().view(-1, 1, 1) * axis[:, None]
    strokes = ((across.abs() < 1.5 / side) & (axis**2 + axis[:, None] ** 2 <= 1)).float()
    drawn = torch.einsum("norc,oyx->nrycx", cells, strokes)
    drawn = drawn.flatten(3).flatten(1, 2)
    return drawn / drawn.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _gradients(images: Images) -> tuple[Images, Images]:
    """Central differences down and across; none at the border."""
    down = functional.pad(images[:, :, 2:] - images[:, :, :-2], (0, 0, 1, 1))
    across = functional.pad(images[..., 2:] - images[..., :-2], (1, 1))
    return down, across


def _steepest_channel(dy: Images, dx: Images) -> tuple[Tensor, Tensor]:
    """Of the three channels' gradients, the longest at each pixel."""
    channel = (dy * dy + dx * dx).argmax(1, keepdim=True)
    return dy.gather(1, channel).squeeze(1), dx.gather(1, channel).squeeze(1)


def _orientation_votes(place: Float[Tensor, "n h w"]) -> Float[Tensor, "n orientations h w"]:
    """One vote for the orientation a gradient falls into; shared linearly in the backward pass."""
    bins = torch.arange(ORIENTATIONS, device=place.device).view(1, -1, 1, 1)
    whole = (place.floor().unsqueeze(1) == bins).to(place)
    distance = (place.unsqueeze(1) - 0.5 - bins).abs()
    shared = (1 - torch.minimum(distance, ORIENTATIONS - distance)).clamp(min=0)
    return whole + shared - shared.detach()


def _normalize(blocks: Float[Tensor, "n y x features"]) -> Float[Tensor, "n y x features"]:
    return blocks / (blocks.square().sum(-1, keepdim=True) + 1e-5**2).sqrt()
