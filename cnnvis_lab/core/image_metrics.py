"""Numbers that describe pictures: how alike, how coloured, how fine, how complex, how natural.

Each function takes a batch of images and gives one number per image, unless it says otherwise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from .errors import InputError
from .types import Float, Images

# Frequencies above this share of the highest one (half a cycle a pixel) count as high.
HIGH_FREQUENCY = 0.5


def correlation(
    first: Float[Tensor, "... c h w"], second: Float[Tensor, "... c h w"]
) -> Float[Tensor, "..."]:
    """Return the cosine between two pictures about gray, over pixels and channels."""
    a, b = first.flatten(-3), second.flatten(-3)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)


def pairwise_correlation(pictures: Float[Tensor, "g n c h w"]) -> Float[Tensor, " g"]:
    """Return, for each group of n pictures about gray, the mean correlation of its pairs."""
    count = pictures.shape[1]
    if count < 2:
        raise InputError(f"pairs among {count} pictures: expected at least 2")
    flat = functional.normalize(pictures.flatten(2), dim=2)
    pairs = flat @ flat.mT
    return (pairs.sum((1, 2)) - pairs.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))


def saturation(kernels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """Return how coloured kernels are: the share of their energy that is not gray, 0 to 1."""
    gray = kernels.mean(1, keepdim=True)
    return ((kernels - gray) ** 2).flatten(1).sum(1) / (kernels**2).flatten(1).sum(1)


def bimodality(values: Float[Tensor, " n"]) -> float:
    """Return Sarle's coefficient: above 5/9 speaks for two groups, 5/9 is a flat distribution."""
    n, centred = len(values), values.double() - values.double().mean()
    if n < 4:
        raise InputError(f"bimodality of {n} values: expected at least 4")
    second = (centred**2).mean()
    skew = (centred**3).mean() / second**1.5
    excess = (centred**4).mean() / second**2 - 3
    sample = 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    return float((skew**2 + 1) / (excess + sample))


def _windowed_gray(images: Images) -> Tensor:
    """Gray values about their mean, faded out towards the border, so that edges do not count."""
    gray = images.mean(1)
    gray = gray - gray.mean((1, 2), keepdim=True)
    window = [torch.hann_window(side, periodic=False).to(gray) for side in gray.shape[-2:]]
    return gray * window[0][:, None] * window[1]


def high_frequency_fraction(images: Images) -> Float[Tensor, " n"]:
    """Return the share of the gray values' energy above `HIGH_FREQUENCY` of the highest one."""
    faded = _windowed_gray(images)
    power = torch.fft.fft2(faded).abs() ** 2
    fy, fx = (torch.fft.fftfreq(side).to(power) for side in faded.shape[-2:])
    high = torch.sqrt(fy[:, None] ** 2 + fx**2) > HIGH_FREQUENCY / 2
    return power[:, high].sum(1) / power.sum((1, 2)).clamp(min=1e-20)


def mean_abs_gradient(images: Images) -> Float[Tensor, " n"]:
    """Return the mean absolute difference between neighbouring pixels."""
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(1)
    return (down + across) / 2


def complexity(images: Images, share: float = 0.95, side: int = 64) -> Float[Tensor, " n"]:
    """Return how many cosine coefficients hold `share` of the energy about the mean colour.

    Args:
        images: resized to a common side first, so that canvases of different size compare.
        share: of the energy.
        side: in pixels.
    """
    small = functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    basis = _cosine_basis(side).to(small)
    power = (basis @ small @ basis.T) ** 2
    power[..., 0, 0] = 0  # the mean colour
    ranked = power.flatten(1).sort(dim=1, descending=True).values.cumsum(1)
    return (ranked < share * ranked[:, -1:]).sum(1).float() + 1


def _cosine_basis(side: int) -> Float[Tensor, "k x"]:
    """Orthonormal cosine transform (type II)."""
    k, x = torch.arange(side)[:, None], torch.arange(side)[None]
    basis = torch.cos(math.pi * (x + 0.5) * k / side) * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    return basis


def autocorrelation_peaks(images: Images, height: float = 0.3) -> Float[Tensor, " n"]:
    """Return how many other places each picture resembles itself at: autocorrelation peaks.

    Args:
        images: pictures.
        height: how high a peak must stand, 1 being the picture on itself.
    """
    faded = _windowed_gray(images)
    shape = [2 * side for side in faded.shape[-2:]]
    power = torch.fft.rfft2(faded, s=shape).abs() ** 2
    auto = torch.fft.fftshift(torch.fft.irfft2(power, s=shape), dim=(-2, -1))
    auto = auto / auto.amax((1, 2), keepdim=True).clamp(min=1e-20)
    reach = max(3, images.shape[-1] // 16)
    highest = functional.max_pool2d(auto, 2 * reach + 1, 1, reach)
    peaks = ((auto == highest) & (auto > height)).sum((1, 2))
    return ((peaks - 1) / 2).float()  # each peak has its mirror image


def gradient_histogram(images: Images, bins: int = 24, low: float = -9.0) -> Float[Tensor, "n b"]:
    """Return each picture's log gradient magnitudes as a histogram that sums to 1.

    Args:
        images: pictures.
        bins: between 2^low and 1; smaller gradients count in the first.
        low: binary logarithm of the smallest magnitude told apart.
    """
    gray = images.mean(1)
    dy, dx = gray[:, 1:, :-1] - gray[:, :-1, :-1], gray[:, :-1, 1:] - gray[:, :-1, :-1]
    size = (dx * dx + dy * dy).sqrt().flatten(1).clamp(min=2.0**low).log2()
    which = ((size - low) / -low * bins).long().clamp(0, bins - 1)
    ones = torch.ones_like(which, dtype=images.dtype)
    counts = torch.zeros(len(images), bins, device=images.device).scatter_add_(1, which, ones)
    return counts / counts.sum(1, keepdim=True)


def naturalness(images: Images, natural: Float[Tensor, "m 3 h w"]) -> Float[Tensor, " n"]:
    """Return how natural each picture's gradients are: histogram intersection, 0 to 1.

    The histogram is that of gradient magnitudes, compared with the mean one of natural pictures.

    Args:
        images: pictures to judge.
        natural: pictures to compare with, of the same size.
    """
    wanted = gradient_histogram(natural).mean(0)
    return torch.minimum(gradient_histogram(images), wanted).sum(1)


def mean_pairwise_distance(pictures: Float[Tensor, "n ..."]) -> float:
    """Return the mean Euclidean distance between two different pictures of a set, or their codes.

    In this unit a reconstruction that is just another picture of the set is off by 1.

    Source: Dosovitskiy and Brox 2016 (inverting visual representations), normalised error.
    """
    if len(pictures) < 2:
        raise InputError("the distance between pictures needs two of them at least")
    return float(torch.pdist(pictures.flatten(1)).mean())


def distance(
    found: Float[Tensor, "n ..."], wanted: Float[Tensor, "n ..."], unit: float = 1.0
) -> Float[Tensor, " n"]:
    """Return how far each picture, or code, is from the one it should be, in a `distance_unit`."""
    return (found - wanted).flatten(1).norm(dim=1) / unit
