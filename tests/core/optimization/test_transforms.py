"""Transformations and operators agree with independent implementations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import filters
from torch import Tensor

from cnnvis_lab.core import InputError
from cnnvis_lab.core.optimization import transforms

RANDOM = {
    "pad": transforms.pad(3),
    "pad reflect": transforms.pad(3, "reflect"),
    "jitter": transforms.jitter(4),
    "roll": transforms.roll(3),
    "scale": transforms.scale([0.7, 1.0, 1.3]),
    "rotate": transforms.rotate(range(-30, 31)),
    "fit": transforms.fit((9, 14)),
    "composed": transforms.compose(
        transforms.pad(2), transforms.jitter(4), transforms.rotate([5, 10]), transforms.fit(8)
    ),
    "lucid": transforms.LUCID,
}


def _images(count: int = 2, height: int = 11, width: int = 13, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=generator, dtype=torch.float64)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", RANDOM)
def test_equal_seeds_give_equal_sequences_of_results(name):
    images = _images()
    one, two = _generator(5), _generator(5)
    for _ in range(3):
        assert torch.equal(RANDOM[name](images, one), RANDOM[name](images, two))


@pytest.mark.parametrize("name", ["jitter", "roll", "scale", "rotate", "composed", "lucid"])
def test_random_transformations_differ_from_step_to_step(name):
    images, generator = _images(), _generator(5)
    results = [RANDOM[name](images, generator) for _ in range(20)]
    seen = {(tuple(result.shape), result.numpy().tobytes()) for result in results}
    assert len(seen) > 2


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("seed", range(4))
def test_every_image_of_a_batch_is_transformed_as_it_would_be_alone(name, seed):
    images = _images(3)
    together = RANDOM[name](images, _generator(seed))
    for i in range(3):
        alone = RANDOM[name](images[i : i + 1], _generator(seed))
        assert torch.allclose(together[i : i + 1], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("seed", range(3))
def test_gray_stays_gray(name, seed):
    gray = torch.full((1, 3, 16, 18), 0.5)
    moved = RANDOM[name](gray, _generator(seed))
    assert torch.allclose(moved, torch.full_like(moved, 0.5), atol=1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_gradients_are_those_of_finite_differences(name):
    images = _images(1, 8, 9).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: RANDOM[name](x, _generator(2)), images, fast_mode=True
    )
    (gradient,) = torch.autograd.grad(RANDOM[name](images, _generator(2)).sum(), images)
    assert gradient.any()


def test_a_composition_applies_its_transformations_in_order_with_one_generator():
    images, generator = _images(), _generator(7)
    steps = [transforms.roll(4), transforms.jitter(2), transforms.scale([0.8, 1.2])]
    by_hand = images
    for step in steps:
        by_hand = step(by_hand, generator)
    assert torch.equal(transforms.compose(*steps)(images, _generator(7)), by_hand)
    assert transforms.compose()(images, _generator(7)) is images


@given(
    height=st.integers(1, 9), width=st.integers(1, 9), border=st.integers(0, 4), seed=st.integers(0)
)
@settings(max_examples=25, deadline=None)
def test_padding_keeps_the_image_and_adds_the_requested_border(height, width, border, seed):
    images = _images(1, height, width, seed % 1000)
    around = ((0, 0), (0, 0), (border, border), (border, border))
    constant = transforms.pad(border, 0.25)(images, _generator(0)).numpy()
    assert np.array_equal(constant, np.pad(images.numpy(), around, constant_values=0.25))
    if border < min(height, width):
        reflected = transforms.pad(border, "reflect")(images, _generator(0)).numpy()
        assert np.array_equal(reflected, np.pad(images.numpy(), around, mode="reflect"))


@given(reach=st.integers(0, 6), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_jitter_crops_a_window_of_the_image(reach, seed):
    images = _images(2, 8, 10)
    cut = transforms.jitter(reach)(images, _generator(seed))
    assert cut.shape[-2:] == (8 - reach, 10 - reach)
    windows = images.unfold(2, 8 - reach, 1).unfold(3, 10 - reach, 1)
    same = (windows == cut[:, :, None, None]).all(-1).all(-1).all(0).all(0)
    assert same.sum() == 1


def test_jitter_selects_every_window_equally_often():
    ramp = torch.arange(16.0).view(1, 1, 4, 4)
    generator = _generator(1)
    corners = [float(transforms.jitter(2)(ramp, generator)[0, 0, 0, 0]) for _ in range(450)]
    values, counts = np.unique(corners, return_counts=True)
    assert set(values) == {4.0 * y + x for y in range(3) for x in range(3)}
    # 50 are expected of each; the binomial standard deviation is 6.7
    assert np.abs(counts - 50).max() < 5 * 6.7


@pytest.mark.parametrize("reach", [8, 9, 30])
def test_jitter_larger_than_the_canvas_is_refused(reach):
    with pytest.raises(InputError, match=f"jitter of {reach} pixels.*8x10; pad it first") as caught:
        transforms.jitter(reach)(_images(1, 8, 10), _generator(0))
    assert "\n" not in str(caught.value)


@given(reach=st.integers(0, 5), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_roll_is_a_cyclic_shift_within_reach(reach, seed):
    positions = torch.arange(9.0 * 12).view(1, 1, 9, 12)
    rolled = transforms.roll(reach)(positions, _generator(seed))[0, 0]
    y, x = divmod(int(rolled[0, 0]), 12)
    assert torch.equal(rolled.roll((y, x), (0, 1)), positions[0, 0])
    assert min(y, 9 - y) <= reach and min(x, 12 - x) <= reach
    assert sorted(rolled.flatten().tolist()) == positions.flatten().tolist()


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.5, 0.01])
def test_scale_resizes_about_the_center(factor):
    ramp = torch.linspace(0, 1, 12, dtype=torch.float64).view(1, 1, 12, 1).expand(1, 1, 12, 9)
    scaled = transforms.scale([factor])(ramp, _generator(0))
    height = max(round(12 * factor), 1)
    assert scaled.shape[-2:] == (height, max(round(9 * factor), 1))
    # the center of row r lies at (r + 1/2) * 12 / height of the old rows; values are linear between
    centers = (np.arange(height) + 0.5) * 12 / height - 0.5
    expected = np.clip(centers, 0, 11) / 11
    assert np.abs(scaled[0, 0, :, 0].numpy() - expected).max() < 1e-12
    if factor == 1:
        assert torch.equal(scaled, ramp)


def test_scale_and_rotate_choose_among_all_given_values():
    images, generator = _images(1, 10, 10), _generator(3)
    sizes = {transforms.scale([0.5, 1.0, 2.0])(images, generator).shape[-1] for _ in range(40)}
    assert sizes == {5, 10, 20}
    rotated = {
        transforms.rotate([0, 90, 180])(images, generator).numpy().round(6).tobytes()
        for _ in range(40)
    }
    assert len(rotated) == 3


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotating_a_square_by_right_angles_moves_whole_pixels(turns):
    for size in (8, 9):
        images = _images(2, size, size)
        rotated = transforms.rotate([90 * turns])(images, _generator(0))
        assert torch.allclose(rotated, torch.rot90(images, turns, (-2, -1)), atol=1e-6)


def test_rotating_by_zero_degrees_changes_nothing():
    images = _images()
    assert torch.equal(transforms.rotate([0])(images, _generator(0)), images)


@pytest.mark.parametrize("degrees", [-40, 7, 33, 90, 180])
def test_rotation_is_bilinear_about_the_center_with_gray_outside_on_any_canvas(degrees):
    images = _images(1, 9, 14)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    back = np.array([[cos, sin], [-sin, cos]])  # (row, column) of the result to that of the source
    middle = np.array([4.0, 6.5])
    expected = [
        ndimage.affine_transform(
            plane, back, middle - back @ middle, order=1, mode="grid-constant", cval=0.5
        )
        for plane in images[0].numpy()
    ]
    rotated = transforms.rotate([degrees])(images, _generator(0))[0].numpy()
    assert np.abs(rotated - np.stack(expected)).max() < 1e-6


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    new_height=st.integers(1, 12),
    new_width=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_fit_keeps_the_center_and_fills_with_gray(height, width, new_height, new_width):
    images = _images(1, height, width)
    fitted = transforms.fit((new_height, new_width))(images, _generator(0))
    assert fitted.shape[-2:] == (new_height, new_width)
    expected = np.full((new_height, new_width), 0.5)
    down, right = (new_height - height) // 2, (new_width - width) // 2
    for y in range(new_height):
        for x in range(new_width):
            if 0 <= y - down < height and 0 <= x - right < width:
                expected[y, x] = images[0, 1, y - down, x - right]
    assert np.array_equal(fitted[0, 1].numpy(), expected)


def test_fit_takes_the_size_of_a_square():
    assert transforms.fit(7)(_images(), _generator(0)).shape[-2:] == (7, 7)


@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.3, 1.0])
def test_decay_reduces_the_distance_to_gray_by_its_rate(rate):
    images = _images()
    for step in (0, 5):
        decayed = transforms.decay(rate)(images, torch.zeros_like(images), step)
        assert torch.allclose(decayed - 0.5, (1 - rate) * (images - 0.5), atol=1e-15)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0, 4.0])
def test_blur_equals_the_gaussian_of_scikit_image(sigma):
    images = _images(1, 20, 17)
    blurred = transforms.gaussian_blur(sigma)(images, images, 0)[0].numpy()
    source, reach = images[0].numpy(), math.ceil(3 * sigma)
    options = {"mode": "nearest", "channel_axis": 0}
    same_reach = filters.gaussian(source, sigma, truncate=reach / sigma, **options)
    assert np.abs(blurred - same_reach).max() < 1e-6
    # 0.27 % of the weight lies beyond three standard deviations, in each of two directions.
    assert np.abs(blurred - filters.gaussian(source, sigma, **options)).max() < 2 * 0.0027


def test_blur_acts_only_at_every_nth_step():
    images = _images()
    blur = transforms.gaussian_blur(1.0, every=4)
    changed = [step for step in range(9) if not torch.equal(blur(images, images, step), images)]
    assert changed == [0, 4, 8]


@pytest.mark.parametrize(("sigma", "every"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
def test_a_blur_without_effect_is_refused(sigma, every):
    with pytest.raises(InputError, match="omit the blur"):
        transforms.gaussian_blur(sigma, every)


def _lowest(score: np.ndarray, percentile: int) -> np.ndarray:
    """Mark the pixels with the lowest scores, as many as lie below the percentile's rank."""
    count = -(-percentile * (score.size - 1) // 100)
    lowest = np.zeros(score.size, bool)
    lowest[np.argsort(score, axis=None)[:count]] = True
    return lowest.reshape(score.shape)


@pytest.mark.parametrize("percentile", [0, 1, 20, 50, 90, 99])
@pytest.mark.parametrize("size", [(10, 10), (9, 13)])
def test_clipping_sets_exactly_the_lowest_percentile_of_each_image_to_gray(percentile, size):
    images, gradient = _images(3, *size), _images(3, *size, seed=1) - 0.5
    away = (images - 0.5).numpy()
    scores = {
        transforms.clip_small_norm: np.sqrt((away**2).sum(1)),
        transforms.clip_small_contribution: np.abs((away * gradient.numpy()).sum(1)),
    }
    for operator, score in scores.items():
        clipped = operator(percentile)(images, gradient, 0)
        for i in range(3):
            lowest = torch.from_numpy(_lowest(score[i], percentile))
            assert abs(int(lowest.sum()) - percentile / 100 * lowest.numel()) <= 1
            assert torch.equal(clipped[i], torch.where(lowest, 0.5, images[i]))
