"""Rotations of a layer's basis: their properties, and what they leave unchanged."""

import pytest
import torch
from support.reference_dissection import random_data, small_net

from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.core.rotation import RotatedLayer, fractional_rotation, random_rotation
from cnnvis_lab.methods import dissection


@pytest.mark.parametrize("size", [2, 3, 7, 80])
def test_a_random_rotation_preserves_lengths_and_orientation(size):
    q = random_rotation(size, seed=size)
    assert torch.allclose(q @ q.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert torch.linalg.det(q) > 0


def test_random_rotations_are_uniform():
    entries = torch.stack([random_rotation(3, seed) for seed in range(400)])
    # Under the Haar measure entries have mean 0 and variance 1/3, and columns are uncorrelated.
    assert entries.mean(0).abs().max() < 0.12
    assert (entries.square().mean(0) - 1 / 3).abs().max() < 0.08
    assert torch.equal(random_rotation(5, 1), random_rotation(5, 1))
    assert not torch.equal(random_rotation(5, 1), random_rotation(5, 2))


def test_fractions_of_a_rotation_compose_to_it():
    q = random_rotation(9, seed=3)
    for alpha in (0.0, 0.2, 0.5, 0.9):
        part, rest = fractional_rotation(q, alpha), fractional_rotation(q, 1 - alpha)
        assert torch.allclose(part @ rest, q, atol=1e-10)
        assert torch.allclose(part @ part.T, torch.eye(9, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(fractional_rotation(q, 0), torch.eye(9, dtype=torch.float64), atol=1e-10)


def test_a_fraction_of_a_planar_rotation_has_that_fraction_of_the_angle():
    def plane(angle: float) -> torch.Tensor:
        cos, sin = torch.tensor([angle]).double().cos(), torch.tensor([angle]).double().sin()
        return torch.cat([torch.cat([cos, -sin]), torch.cat([sin, cos])]).view(2, 2)

    assert torch.allclose(fractional_rotation(plane(2.4), 0.25), plane(0.6), atol=1e-12)
    assert torch.allclose(fractional_rotation(plane(-1.0), 0.5), plane(-0.5), atol=1e-12)


@pytest.mark.parametrize(("layer", "units"), [("0", 5), ("3", 7), ("6", 4)])
def test_a_rotated_layer_has_rotated_activations_and_leaves_the_network_unchanged(layer, units):
    net, images, q = small_net(), random_data().images, random_rotation(units)
    rotated = RotatedLayer(net, layer, q)
    plain = hooks.activations(net, images, [layer])[layer]
    acts = hooks.activations(rotated, images, ["rotated", layer])
    turned = torch.einsum("ij,nj...->ni...", q.float(), plain)
    assert torch.allclose(acts["rotated"], turned, atol=1e-5)
    assert torch.equal(acts[layer], plain)
    assert torch.allclose(rotated(images), net(images), atol=1e-5)
    assert not any(module._forward_hooks for module in net.modules())


def test_the_identity_leaves_every_count_and_a_rotation_changes_them():
    net, data, q = small_net(), random_data(), random_rotation(7, seed=1)
    convention = dissection.Convention(quantile=0.05)
    plain = dissection.dissect(net, data, ["2"], convention=convention)["2"]
    identity, turned = (
        dissection.dissect(RotatedLayer(net, "2", part), data, ["rotated"], convention=convention)
        for part in (torch.eye(7), q)
    )
    assert torch.equal(identity["rotated"].intersection, plain.intersection)
    assert torch.equal(turned["rotated"].concept_pixels, plain.concept_pixels)
    assert not torch.equal(turned["rotated"].intersection, plain.intersection)


def test_invalid_sizes_and_layers_are_refused():
    with pytest.raises(InputError, match="at least 2"):
        random_rotation(1)
    with pytest.raises(NameNotFound):
        RotatedLayer(small_net(), "conv9", random_rotation(5))
