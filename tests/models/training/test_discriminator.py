"""The losses of generator and discriminator."""

import torch

from cnnvis_lab.models.training import discriminator


def test_hinge_losses_are_zero_where_the_discriminator_is_certain_and_correct():
    certain, uncertain = [torch.full((2, 1, 3, 3), 2.0)], [torch.zeros(2, 1, 3, 3)]
    assert discriminator.discriminator_loss(certain, [-certain[0]]) == 0
    assert discriminator.discriminator_loss(uncertain, uncertain) == 2
    assert discriminator.generator_loss(certain) == -2
