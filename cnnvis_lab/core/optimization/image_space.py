"""What moves in an optimisation: pixels, or a Fourier spectrum with decorrelated colour.

A space holds leaf tensors whose first dimension is the batch, one independent state per image,
and turns them into images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from ..types import Float, Images

# Square root of the colour covariance of natural photographs, one row per RGB channel (lucid,
# param/color.py); divided by its largest column norm where it is used.
COLOR_CORRELATION = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))


@dataclass(frozen=True)
class Space:
    """A batch of images to be, and the numbers that move.

    Attributes:
        parameters: leaf tensors that require gradients, batch first.
        decode: from such tensors to images (n, 3, h, w).
        project: called after each step; brings the parameters back to where they may be.
    """

    parameters: tuple[Tensor, ...]
    decode: Callable[..., Tensor]
    project: Callable[..., None] | None = None

    def __len__(self) -> int:
        return len(self.parameters[0])

    def images(self) -> Images:
        """Return the images as they are now."""
        return self.decode(*self.parameters)

    def part(self, start: int, stop: int) -> "Space":
        """Return images start..stop as a space of its own, with a fresh copy of the state."""
        return self.pick(slice(start, stop))

    def pick(self, rows: slice | Tensor) -> "Space":
        """Return chosen images as a space of its own, with a fresh copy of the state."""
        chosen = (
            p.detach()[rows if isinstance(rows, slice) else rows.to(p.device)]
            for p in self.parameters
        )
        return replace(self, parameters=tuple(c.clone().requires_grad_() for c in chosen))


def expand_seeds(seeds: Sequence[int] | None, seed: int, count: int) -> list[int]:
    """Return a seed for each of `count` targets: those given, or `seed` for all.

    Raises:
        InputError: another number of seeds.
    """
    chosen = [seed] * count if seeds is None else list(seeds)
    if len(chosen) != count:
        raise InputError(f"{len(chosen)} seeds for {count} targets: expected one for each")
    return chosen


def noise(
    seeds: Sequence[int], size: int | tuple[int, int], *, mean: float = 0.5, std: float = 0.1
) -> Images:
    """Draw one normal noise image per seed, so that an image does not depend on its companions.

    Args:
        seeds: one number per image.
        size: height and width in pixels, or the side of a square.
        mean: mean value of every channel.
        std: standard deviation.
    """
    height, width = (size, size) if isinstance(size, int) else size
    drawn = [
        torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(drawn) * std + mean


def pixels(start: Images, *, low: float | None = 0.0, high: float | None = 1.0) -> Space:
    """Let the pixels themselves move.

    Args:
        start: the images to begin with.
        low: smallest value kept after each step; None for no bound.
        high: largest value kept after each step; None for no bound.
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
    decay_power: float = 1.0,
    std: float = 0.01,
    decorrelate: bool = True,
    device: str | torch.device = "cpu",
) -> Space:
    """Let the Fourier coefficients move, scaled so that every frequency matters alike.

    Steepest ascent in this space is a preconditioned ascent on pixels that spreads the gradient
    as natural images spread their energy, 1 / f (Olah, Mordvintsev, Schubert 2017).

    Args:
        seeds: one number per image, for its random start.
        size: height and width in pixels, or the side of a square.
        decay_power: exponent of 1 / f.
        std: deviation of the starting coefficients.
        decorrelate: mix the channels as natural photographs do.
        device: where the state lives.

    Source: lucid, param/spatial.py and param/color.py.
    """
    height, width = (size, size) if isinstance(size, int) else size
    shape = (3, height, width // 2 + 1, 2)
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    state = (torch.stack(drawn) * std).to(device).requires_grad_()
    return Space((state,), _FourierDecoder(height, width, decay_power, decorrelate))


def fourier_from(images: Images, *, decay_power: float = 1.0, decorrelate: bool = True) -> Space:
    """Begin in Fourier space at given images (values within [0.01, 0.99]; others are clipped)."""
    decoder = _FourierDecoder(*images.shape[-2:], decay_power, decorrelate)
    return Space((decoder.inverse(images).requires_grad_(),), decoder)


class _FourierDecoder:
    """Coefficients (n, 3, h, w // 2 + 1, 2) to images and back."""

    def __init__(self, height: int, width: int, decay_power: float, decorrelate: bool) -> None:
        if min(height, width) < 2:
            raise InputError(f"a Fourier canvas of {height}x{width} is too small; use pixels")
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
        frequency = torch.sqrt(fy * fy + fx * fx).clamp(min=1 / max(height, width))
        self.size = (height, width)
        self.scale = (height * width) ** 0.5 / frequency**decay_power
        mix = torch.tensor(COLOR_CORRELATION)
        self.mix = mix / mix.norm(dim=0).max() if decorrelate else torch.eye(3)

    def __call__(self, state: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(state.contiguous()) * self.scale.to(state.device)
        plain = torch.fft.irfft2(spectrum, s=self.size) / 4
        mixed = torch.einsum("nchw,dc->ndhw", plain, self.mix.to(state.device))
        return torch.sigmoid(mixed)

    def inverse(self, images: Images) -> Float[Tensor, "n 3 h f 2"]:
        """Return the coefficients that decode to the images."""
        mixed = torch.logit(images.detach().clamp(0.01, 0.99))
        unmix = torch.linalg.inv(self.mix).to(images.device)
        plain = torch.einsum("nchw,dc->ndhw", mixed, unmix) * 4
        return torch.view_as_real(torch.fft.rfft2(plain) / self.scale.to(images.device))
