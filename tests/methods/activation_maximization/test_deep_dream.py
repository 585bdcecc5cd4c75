"""A dream activates its layer more at every step, and keeps the photograph's size."""

from itertools import pairwise

import torch
from support import own_networks

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.methods import activation_maximization


def test_a_dream_activates_its_layer_more_with_every_step_and_keeps_the_size():
    network = models.load("alexnet_mini")
    photo = torch.rand(3, 90, 140, generator=torch.Generator().manual_seed(0))
    dreams = [
        activation_maximization.deep_dream(network, "CL3.relu", photo, octaves=2, steps=n)
        for n in (1, 3, 8)
    ]
    for dream in dreams:
        assert dream.shape == photo.shape and dream.min() >= 0 and dream.max() <= 1

    def energy(image: torch.Tensor) -> float:
        maps = hooks.activations(network, image[None], ["CL3.relu"])["CL3.relu"]
        return float(maps.square().mean())

    energies = [energy(image) for image in (photo, *dreams)]
    assert all(before < after for before, after in pairwise(energies))
    assert energies[-1] > 1.5 * energies[0]


def test_the_middle_and_the_last_convolutional_layer_dream():
    network, photo = models.load("alexnet_mini"), torch.rand(3, 64, 64)
    dreams = activation_maximization.deep_dreams(network, photo, octaves=1, steps=1)
    assert [*dreams] == ["CL3", "CL5"]
    expected = activation_maximization.deep_dream(network, "CL5", photo, octaves=1, steps=1)
    assert torch.equal(dreams["CL5"], expected)
    gray = models.load(own_networks.lenet(), input_size=28, channels=1)
    dream = activation_maximization.deep_dream(gray, "0", photo, octaves=1, steps=1)
    assert dream.shape == (1, 64, 64)
