"""Measures of projections against pictures whose answer was planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import hooks
from cnnvis_lab.core.statistics import TopK, tally
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet
from cnnvis_lab.methods import deconvnet
from cnnvis_lab.methods.deconvnet import analysis, project

pytestmark = pytest.mark.usefixtures("one_thread")


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("y0", "x0", "height", "width"), [(3, 5, 10, 10), (0, 0, 4, 12)])
def test_the_extent_is_the_side_of_the_box_that_holds_the_energy(y0, x0, height, width):
    pictures = torch.zeros(3, 3, 20, 24)
    pictures[0, :, y0 : y0 + height, x0 : x0 + width] = _noise(3, height, width).sign()
    pictures[1] = pictures[0] * 7
    pictures[1, :, 19, 23] = 0.1  # next to no energy
    assert analysis.extent(pictures).tolist() == [(height + width) / 2] * 2 + [0]


def test_a_larger_share_never_takes_a_smaller_box():
    pictures = _noise(6, 3, 16, 16) * torch.hann_window(16).outer(torch.hann_window(16))
    sides = torch.stack([analysis.extent(pictures, share) for share in (0.5, 0.9, 0.99, 1.0)])
    assert (sides.diff(dim=0) >= 0).all() and sides[0].max() < sides[-1].min()


def test_extents_are_means_over_what_is_not_empty(network):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    shown = project(network, images, [f"{layer}:{u}" for layer in ("0", "2") for u in range(4)])
    sides = torch.stack([analysis.extent(pixels) for pixels in shown.pixels])
    for number, layer in enumerate(("0", "2")):
        own = sides[:, 4 * number : 4 * number + 4]
        assert deconvnet.extents(shown)[layer] == pytest.approx(float(own[own > 0].mean()))
    assert deconvnet.extents(shown)["0"] <= 5 < deconvnet.extents(shown)["2"] <= 9


def test_no_energy_lies_outside_the_field_and_energy_put_there_is_found(network):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    shown = project(network, images, ["0:1", "2:3"], start_value=1)
    assert not deconvnet.energy_outside_field(network, shown).any()
    spilt = replace(shown, pixels=shown.pixels.clone())
    row, column = shown.positions[1, 0].tolist()
    far = 31 if row < 7 else 0
    spilt.pixels[1, 0, :, far, column] = shown.pixels[1, 0].abs().max()
    shares = deconvnet.energy_outside_field(network, spilt)
    energy = spilt.pixels[1, 0].square().sum()
    assert shares[1, 0] == pytest.approx(float(1 - shown.pixels[1, 0].square().sum() / energy))
    assert (shares != 0).sum() == 1


def test_entropy_counts_the_classes_of_the_strongest_pictures_of_living_units():
    top = TopK(4)
    top.values = torch.tensor([[3.0, 2, 2, 1], [5, 4, 3, 2], [0, 0, -1, -2], [1, 1, 0, 0]])
    top.images = torch.tensor([[0, 4, 8, 12], [0, 1, 2, 3], [0, 1, 2, 3], [0, 4, 1, 5]])
    found = deconvnet.class_entropy(top, torch.arange(16) % 4)
    assert found.tolist() == pytest.approx([0, 2, 1], abs=1e-6)


def test_pictures_vary_by_what_is_unlike_in_them_not_by_brightness_or_contrast():
    one = _noise(3, 8, 8)
    alike = torch.stack([one, 2 * one + 0.3, 0.1 * one - 4])
    unlike = _noise(3, 3, 8, 8, seed=1)
    opposite = torch.stack([one, -one])
    assert analysis.variation(alike[None]) == pytest.approx(0, abs=1e-5)
    assert analysis.variation(opposite[None]) == pytest.approx(2, abs=1e-5)
    assert analysis.variation(unlike[None]) == pytest.approx(1, abs=0.15)
    both = torch.stack([unlike, unlike.flip(0)])
    assert deconvnet.variation_ratio(both, both) == pytest.approx(1)
    assert deconvnet.variation_ratio(both, torch.stack([alike, unlike])) > 1.9


def test_likeness_is_the_mean_correlation_of_pictures_of_the_same_number():
    first = _noise(6, 3, 8, 8)
    half = torch.cat([first[:3], -first[3:]])
    found = deconvnet.similarity([first, -3 * first, half])
    assert torch.allclose(found, torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]]), atol=1e-5)


class _Set:
    """A data set of noise."""

    def __init__(self) -> None:
        self.images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(7))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: list[int]) -> Tensor:
        return self.images[list(indices)]

    def batches(self, size: int):
        yield torch.arange(5), self.images


def test_by_each_rule_the_strongest_activation_over_the_data_is_projected(network):
    pictures, units = _Set(), {"0": [4, 1], "2": [3]}
    found = {layer: TopK(3) for layer in units}
    tally(network, pictures.batches(5), {layer: [top] for layer, top in found.items()})
    ruled = deconvnet.project_by_rule(network, pictures, units, found, ["guided", "linear"])
    assert list(ruled) == ["guided", "linear"] and list(ruled["guided"]) == ["0", "2"]
    for rule, by in ruled.items():
        for layer, own in units.items():
            whole = project(network, pictures.images, [f"{layer}:{u}" for u in own], rule=rule)
            best = whole.activations.argmax(0)
            assert best.tolist() == found[layer].images[own, 0].tolist()
            for number, projection in enumerate(by[layer]):
                energy = whole.pixels[best[number], number].square().sum()
                assert projection.square().sum() == pytest.approx(float(energy), rel=1e-4)
    assert not torch.equal(ruled["guided"]["2"], ruled["linear"]["2"])


def test_one_picture_of_each_class_the_first_that_is_named_with_some_sureness():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        net[2].weight.copy_(30 * torch.eye(3))
        net[2].bias.zero_()
    plain = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    colors = models.load(net, input_size=4, normalization=plain)
    weak, sure = torch.full((3,), 0.5), torch.eye(3) * 0.5 + 0.3
    weak[2] += 0.001
    images = torch.stack([sure[1], weak, sure[0], sure[1], sure[2], sure[0]])
    images = images[..., None, None].expand(-1, -1, 4, 4)
    named = colors(images).argmax(1).tolist()
    assert named[1] == named[4]
    assert deconvnet.one_per_class(colors, images, 9) == [0, 2, 4]
    assert deconvnet.one_per_class(colors, images, 2) == [0, 2]
    assert deconvnet.one_per_class(colors, images[:3], 9) == [0, 2, 1]


def test_a_unit_is_explained_where_covering_silences_it():
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))
    spot = models.load(net, input_size=32)
    with torch.no_grad():  # it fires on what is brighter than 0.6, which gray is not
        spot.net[0].weight[:], spot.net[0].bias[:] = 1.0, 0.0
        even = hooks.activations(spot, torch.full((1, 3, 32, 32), 0.6), ["0"])["0"]
        spot.net[0].bias[:] = -even[0, 0, 0, 0]
        spot.net[3].weight[0], spot.net[3].weight[1], spot.net[3].bias[:] = 0.1, 0.0, 0.0
    image = torch.full((3, 32, 32), 0.4)
    image[:, 20:25, 8:13] = 1.0
    shown = deconvnet.explain(spot, image, "0", side=6, step=1)
    acts = hooks.activations(spot, image[None], ["0"])["0"]
    assert shown.target == f"0:{int(acts[0].amax((1, 2)).argmax())}"
    lost, doubt = shown.activity_lost, shown.probability_lost
    assert shown.agreement("deconvnet") > 0.6
    assert lost[20, 8] == lost.max() == shown.occlusion.baseline[0]
    energy = shown.energy("deconvnet")
    assert energy[20, 8] == pytest.approx(float(energy.max())) and energy[0, 20] == 0
    assert shown.probability > 0.5 and doubt[0, 20] == pytest.approx(0, abs=1e-6)
    assert doubt[20, 8] == pytest.approx(shown.probability - 0.5, abs=1e-5)
    lost = shown.occlusion.on_pixels(lost)
    assert lost.shape == (32, 32)
    assert lost.argmax() // 32 in range(20, 25) and lost.argmax() % 32 in range(8, 13)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[20:25, 8:13] = True
    squares = [mask[y : y + 6, x : x + 6].sum() for y in range(27) for x in range(27)]
    mean = torch.stack(squares).float().mean()
    assert shown.object_coverage(mask) == pytest.approx(float(25 / mean), rel=1e-4)
    assert shown.object_coverage(~mask) < 1


def test_objects_show_where_the_world_says_whatever_the_size():
    world = SceneSet(HELD_OUT_SEED, 8)
    masks = deconvnet.object_masks(world, [3, 5], 128)
    for mask, number in zip(masks, (3, 5), strict=True):
        picture = world.draw(number)
        seen = picture.instances == picture.objects[picture.main].number
        assert np.array_equal(mask.numpy(), seen) and seen.any()
    double = deconvnet.object_masks(world, [3], 256)
    assert torch.equal(double[0], masks[0].repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_the_smallest_increase_is_between_neighbors():
    assert deconvnet.min_increase([3.0, torch.tensor(10.0), 12.26]) == pytest.approx(2.26)
    assert deconvnet.min_increase([3.0, 2.0, 9.0]) == -1
