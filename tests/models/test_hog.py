"""Histograms of oriented gradients: those of scikit-image, drawn along the edges."""

import pytest
import torch
from skimage.feature import hog as skimage_hog

from cnnvis_lab.models import hog


@pytest.mark.parametrize("size", [(48, 64), (50, 45)])
def test_the_histograms_are_those_of_scikit_image(size):
    images = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    images[2, :, 10:30, 10:30] = 0.25  # flat somewhere
    expected = [skimage_hog(image.permute(1, 2, 0).numpy(), channel_axis=2) for image in images]
    found = hog.Blocks()(hog.Cells()(images))
    assert torch.allclose(found, torch.stack([torch.from_numpy(e) for e in expected]), atol=1e-9)


def test_strokes_run_along_the_edges():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 12:20] = 1  # upright edges
    drawn = hog.glyphs(hog.Cells()(stripes))[0]
    assert drawn.sum(1).std() < drawn.sum(0).std()
