"""Histograms of oriented gradients equal scikit-image's; their strokes follow the edges."""

import pytest
import torch
from skimage.feature import hog as skimage_hog

from cnnvis_lab.models import hog


@pytest.mark.parametrize("size", [(48, 64), (50, 45)])
def test_the_histograms_equal_those_of_scikit_image(size):
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    images[2, :, 10:30, 10:30] = 0.25  # a flat region
    expected = [skimage_hog(image.permute(1, 2, 0).numpy(), channel_axis=2) for image in images]
    descriptors = hog.Blocks()(hog.Cells()(images))
    assert torch.allclose(
        descriptors, torch.stack([torch.from_numpy(e) for e in expected]), atol=1e-9
    )


def test_the_descriptor_of_gray_images_is_that_of_equal_channels():
    gray = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    blocks = hog.descriptor(40, 1)(gray)
    assert torch.equal(blocks, hog.descriptor(40)(gray.expand(-1, 3, -1, -1)))


def test_strokes_run_along_the_edges():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 12:20] = 1  # vertical edges
    image = hog.glyphs(hog.Cells()(stripes))[0]
    assert image.sum(1).std() < image.sum(0).std()
