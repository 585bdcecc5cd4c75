"""Tests of figures of units and concepts."""

import numpy as np
import pytest
import torch

from cnnvis_lab.lab import figures


@pytest.mark.parametrize("size", [32, 128, 200])
def test_a_region_keeps_its_colors_within_an_outline_on_a_dimmed_image(size):
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 2] = True
    image = torch.rand(3, size, size)
    masked = figures.concepts.masked_image(image, mask)
    repeats = masked.shape[1] // size
    assert masked.shape == (3, repeats * size, repeats * size) and masked.shape[1] >= 128
    large = image.numpy().repeat(repeats, 1).repeat(repeats, 2)
    quarter = masked.shape[1] // 4
    region = slice(quarter, 2 * quarter), slice(2 * quarter, 3 * quarter)
    assert np.array_equal(masked[:, *region], large[:, *region])
    dimmed = np.isclose(masked, 0.35 * large).all(0)
    outline = ~dimmed
    outline[region] = False
    width = masked.shape[1] // 64
    assert outline.sum() == (quarter + 2 * width) ** 2 - quarter**2
    assert len(np.unique(masked[:, outline], axis=1).T) == 1


def test_a_region_is_seen_on_a_black_image_and_an_empty_one_has_no_outline():
    black, mask = np.zeros((3, 64, 64)), np.zeros((8, 8), bool)
    assert not figures.concepts.masked_image(black, mask).any()
    mask[3, 3] = True
    assert figures.concepts.masked_image(black, mask).max() > 0.9
    white = np.ones((3, 64, 64))
    assert (figures.concepts.masked_image(white, ~np.zeros((8, 8), bool)) == 1).all()


def test_an_overlap_has_four_colors():
    mask, concept = np.array([[0, 1], [0, 1]], bool), np.array([[0, 0], [1, 1]], bool)
    overlap = figures.concepts.overlap_image(mask, concept)
    assert overlap.shape == (3, 2, 2)
    assert len(np.unique(overlap.reshape(3, -1), axis=1).T) == 4 and (overlap[:, 1, 1] == 1).all()
