"""Spectra of kernels and projections, and what of them a stride is too coarse for."""

import torch
from torch import Tensor

from .receptive_field import Pair
from .types import Float

# Cycles per pixel that part low, middle and high frequencies: waves of 10 and of 4 pixels.
FREQUENCY_BANDS = (0.1, 0.25)
# Frequencies each way that a spectrum has at least.
MIN_SIZE = 32


def power_spectra(
    pictures: Float[Tensor, "n c h w"],
) -> tuple[Float[Tensor, "n y x"], Float[Tensor, "2 y x"]]:
    """Return pictures' power at every frequency.

    Args:
        pictures: kernels or projections; filled up with zeros where smaller than `SIDE`.

    Returns:
        Shares of each one's energy over all channels (they add up to 1, or are 0 for an empty
        picture), and cycles per pixel down and across.
    """
    sides = [max(side, MIN_SIZE) for side in pictures.shape[-2:]]
    power = (torch.fft.fft2(pictures, s=sides).abs() ** 2).sum(1)
    lines = [torch.fft.fftfreq(side) for side in sides]
    frequency = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    return power / power.sum((1, 2), keepdim=True).clamp(min=1e-30), frequency


def radial_spectrum(
    kernels: Float[Tensor, "n c h w"], rings: int = 16
) -> tuple[Float[Tensor, " rings"], Float[Tensor, " rings"]]:
    """Return kernels' mean power by frequency, whatever the direction.

    Args:
        kernels: each counts alike, however strong it is.
        rings: between no wave and waves of two pixels; the shorter ones, that only lie along the
            diagonals, are left out.

    Returns:
        The middle of each ring in cycles per pixel, and the share of the energy in it.
    """
    power, frequency = power_spectra(kernels)
    edges = torch.linspace(0, 0.5, rings + 1)
    ring = torch.bucketize(frequency.norm(dim=0), edges[1:])
    shares = torch.stack([power[:, ring == i].sum(1).mean() for i in range(rings)])
    return (edges[1:] + edges[:-1]) / 2, shares


def aliased_fraction(pictures: Float[Tensor, "n c h w"], stride: Pair) -> Float[Tensor, " n"]:
    """Return the share of pictures' energy that sampling at a stride cannot carry.

    Waves shorter than two strides, down or across, come out of such sampling as other, longer
    waves (Nyquist and Shannon).

    Args:
        pictures: kernels or projections, of any size.
        stride: vertical and horizontal, in pixels.

    Returns:
        Energy beyond half a cycle per stride over all energy; 0 without any.
    """
    power, (down, across) = power_spectra(pictures)
    lost = (down.abs() > 0.5 / stride[0]) | (across.abs() > 0.5 / stride[1])
    return power[:, lost].sum(1)
