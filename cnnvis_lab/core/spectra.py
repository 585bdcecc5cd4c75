"""Power spectra of kernels and projections, and the fraction that a stride aliases."""

import torch
from torch import Tensor

from .receptive_field import Pair
from .types import Float

# Cycles per pixel that separate low, middle and high frequencies: wavelengths of 10 and 4 pixels.
FREQUENCY_BANDS = (0.1, 0.25)
# Minimum number of frequencies of a spectrum in each direction.
MIN_SIZE = 32


def power_spectra(
    images: Float[Tensor, "n c h w"],
) -> tuple[Float[Tensor, "n y x"], Float[Tensor, "2 y x"]]:
    """Return the power of images at every frequency.

    Args:
        images: kernels or projections; padded with zeros to at least `MIN_SIZE`.

    Returns:
        Fractions of each image's energy over all channels (they sum to 1; all are 0 for a zero
        image), and the frequencies in cycles per pixel, down and across.
    """
    shape = [max(size, MIN_SIZE) for size in images.shape[-2:]]
    power = (torch.fft.fft2(images, s=shape).abs() ** 2).sum(1)
    lines = [torch.fft.fftfreq(size) for size in shape]
    frequency = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    return power / power.sum((1, 2), keepdim=True).clamp(min=1e-30), frequency


def radial_spectrum(
    kernels: Float[Tensor, "n c h w"], rings: int = 16
) -> tuple[Float[Tensor, " rings"], Float[Tensor, " rings"]]:
    """Return the mean power of kernels by frequency, over all directions.

    Args:
        kernels: each has the same weight, regardless of its norm.
        rings: number of rings between 0 and half a cycle per pixel; higher frequencies, which exist
            only along the diagonals, are left out.

    Returns:
        The middle of each ring in cycles per pixel, and the fraction of the energy in it.
    """
    power, frequency = power_spectra(kernels)
    edges = torch.linspace(0, 0.5, rings + 1)
    ring = torch.bucketize(frequency.norm(dim=0), edges[1:])
    fractions = torch.stack([power[:, ring == i].sum(1).mean() for i in range(rings)])
    return (edges[1:] + edges[:-1]) / 2, fractions


def aliased_fraction(images: Float[Tensor, "n c h w"], stride: Pair) -> Float[Tensor, " n"]:
    """Return the fraction of each image's energy that sampling at a stride aliases.

    Waves shorter than two strides, down or across, appear as longer waves after such sampling
    (Nyquist and Shannon).

    Args:
        images: kernels or projections, of any size.
        stride: vertical and horizontal, in pixels.

    Returns:
        Energy beyond half a cycle per stride, divided by the total energy; 0 for a zero image.
    """
    power, (down, across) = power_spectra(images)
    lost = (down.abs() > 0.5 / stride[0]) | (across.abs() > 0.5 / stride[1])
    return power[:, lost].sum(1)
