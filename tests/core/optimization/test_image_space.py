"""Image spaces agree with a slow Fourier sum; a seed's image is independent of the others."""

import numpy as np
import pytest
import torch

from cnnvis_lab.core import InputError
from cnnvis_lab.core.optimization import image_space

SIZES = [(8, 8), (7, 9), (9, 6), (6, 11), (2, 3), (5, 2)]


def _bins(height: int, width: int) -> list[tuple[int, int, float, float]]:
    """Row, column, frequency in cycles per pixel, and how often a bin counts in a real image."""
    low = 1 / max(height, width)
    rows = []
    for ky in range(height):
        for kx in range(width // 2 + 1):
            frequency = np.hypot(min(ky, height - ky) / height, kx / width)
            has_mirror = kx not in (0, width / 2)
            rows.append((ky, kx, max(frequency, low), 2.0 if has_mirror else 1.0))
    return rows


def _slow_decode(state: torch.Tensor, size: tuple[int, int], mix: np.ndarray):
    """One sum over all frequencies, in float64: no fast transform, no color code of the library."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    coefficients = state.detach().double().numpy()
    plain = np.zeros((*state.shape[:2], height, width))
    for ky, kx, frequency, count in _bins(height, width):
        phase = np.exp(2j * np.pi * (ky * y / height + kx * x / width))
        value = coefficients[:, :, ky, kx, 0] + 1j * coefficients[:, :, ky, kx, 1]
        wave = (value[..., None, None] * phase).real
        plain += count * wave / frequency / np.sqrt(height * width)
    mixed = np.einsum("dc,nchw->ndhw", mix, plain / 4)
    return 1 / (1 + np.exp(-mixed))


def _color_mix() -> np.ndarray:
    rows = np.array([(0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03)])
    return rows / np.sqrt((rows**2).sum(0)).max()


@pytest.mark.parametrize("size", SIZES)
def test_a_fourier_image_is_the_sum_of_its_waves_over_f(size):
    space = image_space.fourier([1, 2], size, std=1.0)
    slow = _slow_decode(space.parameters[0], size, _color_mix())
    assert np.abs(space.images().detach().numpy() - slow).max() < 2e-6
    assert np.ptp(slow) > 0.05


def test_channels_that_are_not_rgb_have_a_spectrum_each():
    space = image_space.fourier([3], (6, 7), std=0.3, channels=4)
    slow = _slow_decode(space.parameters[0], (6, 7), np.eye(4))
    assert np.abs(space.images().detach().numpy() - slow).max() < 2e-6


def test_the_power_spectrum_falls_as_that_of_natural_images():
    """The mean power of many random logits is proportional to 1 / f^2 in every bin."""
    size, std = 12, 0.02
    space = image_space.fourier(range(1200), size, std=std, channels=1)
    logits = torch.logit(space.images().detach().double()).numpy()
    y, x = np.mgrid[:size, :size]
    for ky, kx, frequency, count in _bins(size, size):
        if count == 1:
            continue  # bins that equal their mirror image hold one number, not two
        wave = np.exp(-2j * np.pi * (ky * y + kx * x) / size)
        power = (np.abs((logits * wave).sum((2, 3))) ** 2).mean()
        expected = 2 * (std * size / frequency / 4) ** 2
        # 1200 exponential draws: their mean is off by 1 / sqrt(1200) = 2.9 %; six times that
        assert power == pytest.approx(expected, rel=0.18)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [3, 1])
def test_fourier_from_reconstructs_the_images(size, channels):
    images = torch.rand(3, channels, *size, generator=torch.Generator().manual_seed(4))
    space = image_space.fourier_from(images)
    assert torch.allclose(space.images(), images.clamp(0.01, 0.99), atol=2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_fourier_image_survives_conversion_to_pixels_and_back(size):
    first = image_space.fourier([5, 6], size, std=0.1).images()
    again = image_space.fourier_from(first).images()
    assert torch.allclose(again, first.clamp(0.01, 0.99), atol=2e-5)


@pytest.mark.parametrize("std", [0.01, 1.0])
def test_fourier_images_stay_between_black_and_white(std):
    images = image_space.fourier(range(8), (15, 16), std=std).images()
    assert images.shape == (8, 3, 15, 16)
    assert images.min() > 0 and images.max() < 1


@pytest.mark.parametrize("size", [1, (1, 8), (8, 1)])
def test_a_canvas_without_frequencies_is_refused(size):
    with pytest.raises(InputError, match="use pixels"):
        image_space.fourier([0], size)


@pytest.mark.parametrize(
    "draw",
    [
        lambda seeds: image_space.noise(seeds, (6, 5)),
        lambda seeds: image_space.fourier(seeds, (6, 5)).parameters[0].detach(),
        lambda seeds: image_space.fourier(seeds, (6, 5)).images().detach(),
    ],
    ids=["noise", "coefficients", "fourier images"],
)
def test_a_seeds_image_does_not_depend_on_the_other_seeds(draw):
    seeds = [7, 3, 7, 100]
    together = draw(seeds)
    for image, seed in zip(together, seeds, strict=True):
        assert torch.allclose(image, draw([seed])[0], atol=1e-7, rtol=0)
    assert torch.equal(together[0], together[2])
    assert (together[0] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize("std", [0.1, 2.0])
def test_noise_is_normal_about_gray(std):
    values = (image_space.noise(range(10), 64, std=std) - 0.5).double() / std
    count = values.numel()
    assert abs(values.mean()) < 5 / count**0.5
    assert abs(values.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((values**4).mean() - 3) < 5 * (96 / count) ** 0.5
    assert image_space.noise([0], (4, 7)).shape == (1, 3, 4, 7)


def test_a_pixel_space_holds_a_copy_of_the_images():
    start = torch.rand(2, 3, 4, 5)
    original = start.clone()
    space = image_space.pixels(start)
    assert len(space) == 2 and torch.equal(space.images(), start)
    assert space.parameters[0].is_leaf and space.parameters[0].requires_grad
    with torch.no_grad():
        space.parameters[0].add_(1)
    assert torch.equal(start, original)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.5, None), (None, 0.25), (0.2, 0.3)])
def test_project_moves_pixels_to_the_nearest_allowed_value(low, high):
    start = torch.linspace(-2, 3, 3 * 4 * 5).view(1, 3, 4, 5)
    space = image_space.pixels(start, low=low, high=high)
    with torch.no_grad():
        space.project(*space.parameters)
    bottom, top = -np.inf if low is None else low, np.inf if high is None else high
    expected = np.minimum(np.maximum(start.numpy(), np.float32(bottom)), np.float32(top))
    assert np.array_equal(space.images().detach().numpy(), expected)


def test_pixels_without_bounds_have_nothing_to_project():
    assert image_space.pixels(torch.rand(1, 3, 2, 2), low=None, high=None).project is None
    assert image_space.fourier([0], 4).project is None


@pytest.mark.parametrize(
    "space",
    [
        image_space.pixels(image_space.noise(range(5), 6), low=0.1),
        image_space.fourier(range(5), 6),
    ],
    ids=["pixels", "fourier"],
)
def test_a_selected_part_is_an_independent_space(space):
    before = space.images().detach().clone()
    part = space.select(slice(1, 3))
    assert len(part) == 2 and torch.allclose(part.images(), before[1:3], atol=1e-7, rtol=0)
    assert all(p.is_leaf and p.requires_grad for p in part.parameters)
    assert part.project is space.project and part.decode is space.decode
    with torch.no_grad():
        part.parameters[0].zero_()
    assert torch.equal(space.images(), before)


def test_an_images_gradient_reaches_only_its_own_coefficients():
    space = image_space.fourier([0, 1], (5, 6))
    (gradient,) = torch.autograd.grad(space.images()[1].sum(), space.parameters)
    assert not gradient[0].any() and gradient[1].any()
