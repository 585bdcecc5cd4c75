"""The losses of generator and discriminator."""

import torch

from cnnvis_lab.models.training import discriminator


def test_hinges_are_zero_where_the_discriminator_is_sure_and_right():
    sure, unsure = [torch.full((2, 1, 3, 3), 2.0)], [torch.zeros(2, 1, 3, 3)]
    assert discriminator.discriminator_loss(sure, [-sure[0]]) == 0
    assert discriminator.discriminator_loss(unsure, unsure) == 2
    assert discriminator.generator_loss(sure) == -2
