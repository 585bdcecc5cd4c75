"""Image metrics: known images give known values."""

import math

import pytest
import torch
from torch.nn import functional

from cnnvis_lab.core import InputError, image_metrics


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_at_any_scale_is_one_with_itself_and_minus_one_with_its_negative():
    a = _noise(3, 3, 8, 8) - 0.5
    assert torch.allclose(image_metrics.correlation(a, 7 * a), torch.ones(3), atol=1e-6)
    assert torch.allclose(image_metrics.correlation(a, -a), -torch.ones(3), atol=1e-6)


def test_pairwise_correlation_is_the_mean_over_all_pairs():
    groups = _noise(2, 4, 3, 5, 5) - 0.5
    slow = [
        sum(
            float(image_metrics.correlation(group[i], group[j]))
            for i in range(4)
            for j in range(4)
            if i != j
        )
        / 12
        for group in groups
    ]
    assert image_metrics.pairwise_correlation(groups).tolist() == pytest.approx(slow, abs=1e-6)
    with pytest.raises(InputError, match="at least 2"):
        image_metrics.pairwise_correlation(groups[:, :1])


def test_aligned_correlation_is_the_highest_over_all_shifts():
    groups = _noise(2, 3, 3, 8, 6) - 0.5

    def shifted(image, down, right):
        """Shift by padding and cropping, and not by a transform."""
        return functional.pad(image, (right, -right, down, -down))

    slow = [
        sum(
            max(
                float((group[i] * shifted(group[j], y, x)).sum())
                for y in range(-4, 5)
                for x in range(-3, 4)
            )
            / float(group[i].norm() * group[j].norm())
            for i, j in ((0, 1), (0, 2), (1, 2))
        )
        / 3
        for group in groups
    ]
    assert image_metrics.aligned_correlation(groups, 0.5).tolist() == pytest.approx(slow, abs=1e-6)
    still, pairwise = (
        image_metrics.aligned_correlation(groups, 0),
        image_metrics.pairwise_correlation(groups),
    )
    assert torch.allclose(still, pairwise, atol=1e-6)
    with pytest.raises(InputError, match="at least 2"):
        image_metrics.aligned_correlation(groups[:, :1], 0.5)


def test_saturation_is_zero_for_gray_kernels_and_one_for_opposed_channels():
    gray = _noise(1, 1, 5, 5).expand(1, 3, 5, 5)
    opposed = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1) * _noise(1, 1, 5, 5)
    both = torch.cat([gray, opposed])
    assert image_metrics.saturation(both).tolist() == pytest.approx([0.0, 1.0], abs=1e-6)


def test_bimodality_distinguishes_two_groups_from_one():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(4000, generator=generator)
    two = torch.cat([one[:2000] - 4, one[2000:] + 4])
    flat = torch.linspace(0, 1, 4000)
    assert image_metrics.bimodality(one) == pytest.approx(1 / 3, abs=0.05)
    assert image_metrics.bimodality(flat) == pytest.approx(5 / 9, abs=0.01)
    assert image_metrics.bimodality(two) > 0.8
    with pytest.raises(InputError, match="at least 4"):
        image_metrics.bimodality(one[:3])


def _wave(cycles: float, size: int = 64) -> torch.Tensor:
    x = torch.arange(size) / size
    return (0.5 + 0.4 * torch.sin(2 * math.pi * cycles * x)).expand(1, 3, size, size)


def test_high_frequencies_are_those_above_half_of_the_highest_frequency():
    assert float(image_metrics.high_frequency_fraction(_wave(8))) < 1e-3
    assert float(image_metrics.high_frequency_fraction(_wave(28))) > 0.999
    white = float(image_metrics.high_frequency_fraction(_noise(1, 3, 256, 256)))
    assert white == pytest.approx(1 - math.pi / 16, abs=0.01)  # outside a disc of half the radius


def test_noisy_kernels_have_more_high_frequency_energy_than_smooth_ones():
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    smooth, checker = (x - 3) / 3, (-1.0) ** (x + y)
    kernels = torch.stack([smooth, checker])[:, None].expand(-1, 3, -1, -1)
    low, high = image_metrics.high_frequency_fraction(kernels).tolist()
    assert low < 0.25 and high > 0.95
    white = _noise(300, 1, 7, 7).expand(-1, 3, -1, -1)
    assert float(image_metrics.high_frequency_fraction(white).mean()) == pytest.approx(
        0.8, abs=0.06
    )


def test_mean_abs_gradient_is_the_mean_step_between_neighbors():
    ramp = (torch.arange(10) / 10).expand(1, 3, 10, 10)
    assert float(image_metrics.mean_abs_gradient(ramp)) == pytest.approx(0.05)  # 0.1 across, 0 down


def test_complexity_counts_the_cosine_coefficients_that_are_not_small():
    k, x = 5, torch.arange(64)
    cosine = (0.5 + 0.3 * torch.cos(math.pi * (x + 0.5) * k / 64)).expand(1, 3, 64, 64)
    assert float(image_metrics.complexity(cosine)) == 3  # one coefficient per channel
    noise = _noise(1, 3, 64, 64)
    assert float(image_metrics.complexity(noise)) > 3000
    smooth = image_metrics.complexity(torch.nn.functional.avg_pool2d(noise, 8))
    assert 3 < float(smooth) < 1000


def test_the_cosine_transform_is_orthonormal():
    basis = image_metrics._cosine_basis(16)
    assert torch.allclose(basis @ basis.T, torch.eye(16), atol=1e-6)


def test_autocorrelation_peaks_are_found_for_a_repeated_pattern_and_not_for_a_single_one():
    blob = torch.exp(-((torch.arange(96) - 48.0) ** 2) / 8)
    single = (blob[:, None] * blob).expand(1, 3, 96, 96)
    three = single + single.roll(20, 3) + single.roll(-20, 3)
    assert float(image_metrics.autocorrelation_peaks(single)) == 0
    assert float(image_metrics.autocorrelation_peaks(three)) >= 1


def test_naturalness_is_one_for_the_reference_images_and_low_for_noise():
    smooth = torch.nn.functional.avg_pool2d(_noise(6, 3, 128, 128), 9, 1)
    assert float(image_metrics.naturalness(smooth, smooth).mean()) > 0.95
    assert float(image_metrics.naturalness(_noise(2, 3, 120, 120), smooth).max()) < 0.2
    assert torch.allclose(image_metrics.gradient_histogram(smooth).sum(1), torch.ones(6), atol=1e-5)
