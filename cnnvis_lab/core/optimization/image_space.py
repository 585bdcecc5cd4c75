"""Image parameterizations for optimization: pixels, or a Fourier spectrum with decorrelated colors.

A space holds leaf tensors whose first dimension is the batch, one independent state per image,
and decodes them to images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from ..types import Float, Images

# Square root of the color covariance of natural photographs, one row per RGB channel (lucid,
# param/color.py); divided by its largest column norm where it is used.
COLOR_CORRELATION = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@dataclass(frozen=True)
class Space:
    """A batch of images, and the tensors that they are decoded from.

    Attributes:
        parameters: leaf tensors that require gradients, batch first.
        decode: function from such tensors to images (n, 3, h, w).
        project: called after each step; changes the parameters in place to enforce bounds.
    """

    parameters: tuple[Tensor, ...]
    decode: Callable[..., Tensor]
    project: Callable[..., None] | None = None

    def __len__(self) -> int:
        return len(self.parameters[0])

    def images(self) -> Images:
        """Return the images that the parameters decode to."""
        return self.decode(*self.parameters)

    def select(self, rows: slice | Tensor) -> "Space":
        """Return some of the images as a space of their own, with a copy of their state."""
        chosen = (
            p.detach()[rows if isinstance(rows, slice) else rows.to(p.device)]
            for p in self.parameters
        )
        return replace(self, parameters=tuple(c.clone().requires_grad_() for c in chosen))


def noise(
    seeds: Sequence[int],
    size: int | tuple[int, int],
    *,
    std: float = 0.1,
    channels: int = 3,
) -> Images:
    """Return one image of Gaussian noise about gray per seed, which depends on that seed only.

    Args:
        seeds: one per image.
        size: height and width in pixels, or the size of a square.
        std: standard deviation.
        channels: of the images.
    """
    height, width = (size, size) if isinstance(size, int) else size
    noises = [
        torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(noises) * std + 0.5


def pixels(start: Images, *, low: float | None = 0.0, high: float | None = 1.0) -> Space:
    """Optimize the pixels themselves.

    Args:
        start: the first images.
        low: lower bound, enforced after each step; None for no bound.
        high: upper bound, likewise.
    """

    def project(values: Tensor) -> None:
        values.clamp_(low, high)

    bounded = low is not None or high is not None
    state = start.detach().clone().requires_grad_()
    return Space((state,), lambda values: values, project if bounded else None)


def fourier(
    seeds: Sequence[int],
    size: int | tuple[int, int],
    *,
    std: float = 0.01,
    channels: int = 3,
    device: str | torch.device = "cpu",
) -> Space:
    """Optimize Fourier coefficients, scaled by 1 / f like the spectrum of natural images.

    Gradient ascent in this space is preconditioned ascent on pixels (Olah, Mordvintsev, Schubert
    2017).

    Args:
        seeds: one per image, for its random start.
        size: height and width in pixels, or the size of a square.
        std: standard deviation of the starting coefficients.
        channels: of the images; three are mixed with the covariance of natural photographs.
        device: of the coefficients.

    Source: lucid, param/spatial.py and param/color.py.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = (channels, height, width // 2 + 1, 2)
    noises = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    state = (torch.stack(noises) * std).to(device).requires_grad_()
    return Space((state,), _FourierDecoder(height, width, channels))


def fourier_from(images: Images) -> Space:
    """Optimize Fourier coefficients, starting from given images.

    Args:
        images: the first images; values are clipped to [0.01, 0.99].
    """
    channels, height, width = images.shape[1:]
    decoder = _FourierDecoder(height, width, channels)
    return Space((decoder.inverse(images).requires_grad_(),), decoder)


def _color_mix(channels: int) -> Tensor:
    if channels != 3:
        return torch.eye(channels)
    mix = torch.tensor(COLOR_CORRELATION)
    return mix / mix.norm(dim=0).max()


class _FourierDecoder:
    """Decodes coefficients (n, c, h, w // 2 + 1, 2) to images; the inverse encodes images."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        if min(height, width) < 2:
            raise InputError(f"a Fourier canvas of {height}x{width} is too small; use pixels")
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        frequency = torch.sqrt(fy * fy + fx * fx).clamp(min=1 / max(height, width))
        self.size = (height, width)
        self.scale = (height * width) ** 0.5 / frequency
        self.mix = _color_mix(channels)

    def __call__(self, state: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(state.contiguous()) * self.scale.to(state.device)
        plain = torch.fft.irfft2(spectrum, s=self.size) / 4
        mixed = torch.einsum("nchw,dc->ndhw", plain, self.mix.to(state.device))
        return torch.sigmoid(mixed)

    def inverse(self, images: Images) -> Float[Tensor, "n c h f 2"]:
        """Return the coefficients that decode to the images."""
        mixed = torch.logit(images.detach().clamp(0.01, 0.99))
        unmix = torch.linalg.inv(self.mix).to(images.device)
        plain = torch.einsum("nchw,dc->ndhw", mixed, unmix) * 4
        return torch.view_as_real(torch.fft.rfft2(plain) / self.scale.to(images.device))
