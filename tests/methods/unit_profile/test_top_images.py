"""Top images, masks and projections of a planted unit are those of its concept."""

import pytest
import torch
from support.planted_units import DOG, dataset, network

from cnnvis_lab.core import InputError
from cnnvis_lab.methods import unit_profile

pytestmark = pytest.mark.usefixtures("one_thread")


def test_masks_of_top_images_are_exactly_the_labels_of_the_concept(analysis):
    data, top = dataset(), unit_profile.top_images(network(), analysis, 0, 5)
    with_dog = (data.maps == DOG).flatten(1).any(1).nonzero()[:, 0]
    order = data.images[with_dog].amax((1, 2, 3)).argsort(descending=True)[:5]
    torch.testing.assert_close(top.images, data.images[with_dog[order]])
    torch.testing.assert_close(top.masks, (data.maps == DOG)[with_dog[order], 0])
    torch.testing.assert_close(top.activations, top.images.amax((1, 2, 3)))
    assert set(top.projections) == {"deconvnet", "guided"} and top.patches.shape[-2:] == (1, 1)
    for projection in top.projections.values():  # the red channel of one pixel
        torch.testing.assert_close(projection[:, 0, 0, 0], top.activations)
        assert not projection[:, 1:].any()


def test_without_rules_patches_are_whole_images(analysis):
    top = unit_profile.top_images(network(), analysis, 0, 2, rules=())
    assert top.projections == {} and top.boxes.tolist() == [[0, 0, 32, 32]] * 2
    assert torch.equal(top.patches, top.images)


def test_a_unit_out_of_range_is_reported(analysis):
    with pytest.raises(InputError, match="unit 3 of 1: it has 3; expected 0 to 2"):
        unit_profile.top_images(network(), analysis, 3)
