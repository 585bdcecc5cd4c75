"""Image metrics: similarity, color, spatial frequency, complexity, naturalness.

Each function returns one number per image of a batch, unless it says otherwise.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from .errors import InputError
from .types import Float, Images

# Frequencies above this fraction of the highest one (half a cycle per pixel) count as high.
HIGH_FREQUENCY = 0.5


def correlation(
    first: Float[Tensor, "... c h w"], second: Float[Tensor, "... c h w"]
) -> Float[Tensor, "..."]:
    """Return the cosine similarity of two images less gray, over pixels and channels."""
    a, b = first.flatten(-3), second.flatten(-3)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)


def pairwise_correlation(images: Float[Tensor, "g n c h w"]) -> Float[Tensor, " g"]:
    """Return the mean `correlation` of all pairs in each group of n images less gray."""
    count = _check_pairs(images)
    flat = functional.normalize(images.flatten(2), dim=2)
    pairs = flat @ flat.mT
    return (pairs.sum((1, 2)) - pairs.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))


def aligned_correlation(images: Float[Tensor, "g n c h w"], shift: float) -> Float[Tensor, " g"]:
    """Return the mean over all pairs in each group of their highest correlation when shifted.

    One image of a pair is shifted in rows and columns; what is shifted in is gray.

    Args:
        images: groups of n images less gray.
        shift: highest shift, as a fraction of height and width; 0 gives `pairwise_correlation`.
    """
    count = _check_pairs(images)
    normalized = functional.normalize(images.flatten(2), dim=2).view_as(images)
    reach = [int(shift * pixels) for pixels in images.shape[-2:]]
    padded = [pixels + most for pixels, most in zip(images.shape[-2:], reach, strict=True)]
    rows, columns = (torch.arange(-most, most + 1) for most in reach)
    one, other = torch.triu_indices(count, count, 1)
    highest = []
    for group in normalized:  # one by one: the products of pairs take much memory
        spectra = torch.fft.rfft2(group, padded)
        products = (spectra[one] * spectra[other].conj()).sum(1)
        correlations = torch.fft.irfft2(products, padded)  # by shift; negative ones at the end
        highest.append(correlations[:, rows][:, :, columns].amax((1, 2)).mean())
    return torch.stack(highest)


def _check_pairs(images: Float[Tensor, "g n c h w"]) -> int:
    """Return the number of images in each group, of which there must be two."""
    count = images.shape[1]
    if count < 2:
        raise InputError(f"pairs among {count} images: expected at least 2")
    return count


def saturation(kernels: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Return the fraction of each kernel's energy that is not gray, 0 to 1."""
    gray = kernels.mean(1, keepdim=True)
    return ((kernels - gray) ** 2).flatten(1).sum(1) / (kernels**2).flatten(1).sum(1)


def bimodality(values: Float[Tensor, " n"]) -> float | None:
    """Return Sarle's coefficient: 5/9 if uniform; higher values suggest two groups.

    Returns:
        None if all values are the same.
    """
    n, centered = len(values), values.double() - values.double().mean()
    if n < 4:
        raise InputError(f"bimodality of {n} values: expected at least 4")
    second = (centered**2).mean()
    if second < 1e-12:
        return None
    skew = (centered**3).mean() / second**1.5
    excess = (centered**4).mean() / second**2 - 3
    sample = 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    return float((skew**2 + 1) / (excess + sample))


def _windowed_gray(images: Images) -> Tensor:
    """Return gray values minus their mean, faded out toward the border to suppress its edges."""
    gray = images.mean(1)
    gray = gray - gray.mean((1, 2), keepdim=True)
    window = [torch.hann_window(size, periodic=False).to(gray) for size in gray.shape[-2:]]
    return gray * window[0][:, None] * window[1]


def high_frequency_fraction(images: Images) -> Float[Tensor, " n"]:
    """Return the fraction of the gray values' energy at frequencies above `HIGH_FREQUENCY`."""
    faded = _windowed_gray(images)
    power = torch.fft.fft2(faded).abs() ** 2
    fy, fx = (torch.fft.fftfreq(size).to(power) for size in faded.shape[-2:])
    high = torch.sqrt(fy[:, None] ** 2 + fx**2) > HIGH_FREQUENCY / 2
    return power[:, high].sum(1) / power.sum((1, 2)).clamp(min=1e-20)


def mean_abs_gradient(images: Images) -> Float[Tensor, " n"]:
    """Return the mean absolute difference between neighboring pixels."""
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(1)
    return (down + across) / 2


def complexity(images: Images, fraction: float = 0.95, size: int = 64) -> Float[Tensor, " n"]:
    """Return how many cosine coefficients hold a fraction of the energy, the mean color excluded.

    Args:
        images: resized to a common size first, so that different canvases can be compared.
        fraction: of the energy.
        size: of the resized images, in pixels.
    """
    small = functional.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    basis = _cosine_basis(size).to(small)
    power = (basis @ small @ basis.T) ** 2
    power[..., 0, 0] = 0  # the mean color
    ranked = power.flatten(1).sort(dim=1, descending=True).values.cumsum(1)
    return (ranked < fraction * ranked[:, -1:]).sum(1).float() + 1


def _cosine_basis(size: int) -> Float[Tensor, "k x"]:
    """Return the basis of the orthonormal cosine transform (type II)."""
    k, x = torch.arange(size)[:, None], torch.arange(size)[None]
    basis = torch.cos(math.pi * (x + 0.5) * k / size) * (2 / size) ** 0.5
    basis[0] /= 2**0.5
    return basis


def autocorrelation_peaks(images: Images, height: float = 0.3) -> Float[Tensor, " n"]:
    """Return at how many shifts each image resembles itself: the peaks of its autocorrelation.

    Args:
        images: in [0, 1].
        height: minimum height of a peak, relative to the value at shift zero.
    """
    faded = _windowed_gray(images)
    shape = [2 * size for size in faded.shape[-2:]]
    power = torch.fft.rfft2(faded, s=shape).abs() ** 2
    auto = torch.fft.fftshift(torch.fft.irfft2(power, s=shape), dim=(-2, -1))
    auto = auto / auto.amax((1, 2), keepdim=True).clamp(min=1e-20)
    reach = max(3, images.shape[-1] // 16)
    highest = functional.max_pool2d(auto, 2 * reach + 1, 1, reach)
    peaks = ((auto == highest) & (auto > height)).sum((1, 2))
    return ((peaks - 1) / 2).float()  # each peak has its mirror image


def gradient_histogram(images: Images, bins: int = 24, low: float = -9.0) -> Float[Tensor, "n b"]:
    """Return a histogram of each image's log gradient magnitudes that sums to 1.

    Args:
        images: in [0, 1].
        bins: number of bins between 2^low and 1; smaller gradients count in the first bin.
        low: binary logarithm of the smallest magnitude that is resolved.
    """
    gray = images.mean(1)
    dy, dx = gray[:, 1:, :-1] - gray[:, :-1, :-1], gray[:, :-1, 1:] - gray[:, :-1, :-1]
    magnitude = (dx * dx + dy * dy).sqrt().flatten(1).clamp(min=2.0**low).log2()
    which = ((magnitude - low) / -low * bins).long().clamp(0, bins - 1)
    ones = torch.ones_like(which, dtype=images.dtype)
    counts = torch.zeros(len(images), bins, device=images.device).scatter_add_(1, which, ones)
    return counts / counts.sum(1, keepdim=True)


def naturalness(images: Images, natural: Float[Tensor, "m c h w"]) -> Float[Tensor, " n"]:
    """Return how natural each image's gradients are, 0 to 1.

    This is the intersection of its histogram of gradient magnitudes with that of natural images.

    Args:
        images: in [0, 1].
        natural: images to compare with, of the same size.
    """
    expected = gradient_histogram(natural).mean(0)
    return torch.minimum(gradient_histogram(images), expected).sum(1)


def mean_pairwise_distance(images: Float[Tensor, "n ..."]) -> float:
    """Return the mean Euclidean distance between different images of a set, or between codes.

    In this unit, replacing an image by a random other one of the set gives a mean error of 1.

    Source: Dosovitskiy and Brox 2016 (inverting visual representations), normalized error.
    """
    if len(images) < 2:
        raise InputError(f"distance between {len(images)} images: expected at least 2")
    return float(torch.pdist(images.flatten(1)).mean())


def distance(
    images: Float[Tensor, "n ..."], targets: Float[Tensor, "n ..."], unit: float = 1.0
) -> Float[Tensor, " n"]:
    """Return the Euclidean distance of each image, or code, from its target.

    Args:
        images: any shape, batch first.
        targets: of the same shape.
        unit: the distance that counts as 1, such as `mean_pairwise_distance` of a dataset.
    """
    return (images - targets).flatten(1).norm(dim=1) / unit
