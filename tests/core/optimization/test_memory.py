"""The memory of an image is three copies of all outputs of the layers that run."""

import pytest
from support import ascents

from cnnvis_lab.core.optimization import batch_that_fits, memory

pytestmark = pytest.mark.usefixtures("one_thread")


def test_how_many_images_fit_does_not_depend_on_what_ran_before():
    """An image takes three times the outputs: 6 maps of 10x10 twice, 6 of 5x5, 5 of 3x3."""
    net, outputs = ascents.small_net(), 2 * 6 * 10 * 10 + 6 * 5 * 5 + 5 * 3 * 3
    limit = 8 * outputs * memory.COPIES_KEPT * 7
    for _ in range(2):
        one = ascents.pixels([0]).images()
        assert batch_that_fits(net, one, ["3"], limit) == 7
        assert batch_that_fits(net, one, ["3"], limit - 1) == 6
