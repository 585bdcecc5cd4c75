"""Measures of projections against images with planted answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import tensor_images
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
def test_the_extent_is_the_size_of_the_box_that_contains_the_energy(y0, x0, height, width):
    projections = torch.zeros(3, 3, 20, 24)
    projections[0, :, y0 : y0 + height, x0 : x0 + width] = _noise(3, height, width).sign()
    projections[1] = projections[0] * 7
    projections[1, :, 19, 23] = 0.1  # a negligible energy
    assert analysis.extent(projections).tolist() == [(height + width) / 2] * 2 + [0]


def test_a_larger_fraction_never_gives_a_smaller_box():
    projections = _noise(6, 3, 16, 16) * torch.hann_window(16).outer(torch.hann_window(16))
    sizes = torch.stack(
        [analysis.extent(projections, fraction) for fraction in (0.5, 0.9, 0.99, 1.0)]
    )
    assert (sizes.diff(dim=0) >= 0).all() and sizes[0].max() < sizes[-1].min()


def test_extents_are_means_over_nonempty_projections(network):
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    projections = project(
        network, images, [f"{layer}:{u}" for layer in ("0", "2") for u in range(4)]
    )
    sizes = torch.stack([analysis.extent(pixels) for pixels in projections.pixels])
    for index, layer in enumerate(("0", "2")):
        of_layer = sizes[:, 4 * index : 4 * index + 4]
        assert deconvnet.extents(projections)[layer] == pytest.approx(
            float(of_layer[of_layer > 0].mean())
        )
    assert deconvnet.extents(projections)["0"] <= 5 < deconvnet.extents(projections)["2"] <= 9


def test_energy_outside_the_receptive_field_is_zero_unless_it_is_added_there(network):
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    projections = project(network, images, ["0:1", "2:3"], start_value=1)
    assert not deconvnet.energy_outside_field(network, projections).any()
    spilt = replace(projections, pixels=projections.pixels.clone())
    row, column = projections.positions[1, 0].tolist()
    outside = 31 if row < 7 else 0
    spilt.pixels[1, 0, :, outside, column] = projections.pixels[1, 0].abs().max()
    fractions = deconvnet.energy_outside_field(network, spilt)
    energy = spilt.pixels[1, 0].square().sum()
    assert fractions[1, 0] == pytest.approx(
        float(1 - projections.pixels[1, 0].square().sum() / energy)
    )
    assert (fractions != 0).sum() == 1


def test_class_entropy_is_that_of_the_top_images_of_active_units():
    top = TopK(4)
    top.values = torch.tensor([[3.0, 2, 2, 1], [5, 4, 3, 2], [0, 0, -1, -2], [1, 1, 0, 0]])
    top.images = torch.tensor([[0, 4, 8, 12], [0, 1, 2, 3], [0, 1, 2, 3], [0, 4, 1, 5]])
    entropies = analysis.class_entropy(top, torch.arange(16) % 4)
    assert entropies.tolist() == pytest.approx([0, 2, 1], abs=1e-6)


def test_variation_is_invariant_to_brightness_contrast_and_place():
    image = _noise(3, 8, 8)
    rescaled = torch.stack([image, 2 * image + 0.3, 0.1 * image - 4])
    independent = _noise(3, 3, 8, 8, seed=1)
    small = torch.zeros(3, 12, 12)
    small[:, 2:5, 2:5] = _noise(3, 3, 3) - 0.5
    moved = torch.stack([small, small.roll((3, -1), (1, 2))])
    far = torch.stack([small, small.roll((6, 0), (1, 2))])
    moved, far = (part - part.mean((2, 3), keepdim=True) for part in (moved, far))
    assert analysis.variation(rescaled[None]) == pytest.approx(0, abs=1e-5)
    assert analysis.variation(moved[None]) < 0.1 < 0.5 < analysis.variation(far[None])
    assert analysis.variation(independent[None]) == pytest.approx(0.8, abs=0.15)
    both = torch.stack([independent, independent.flip(0)])
    assert analysis.variation_ratio(both, both) == pytest.approx(1)
    assert analysis.variation_ratio(both, torch.stack([rescaled, independent])) > 1.9


def test_entropies_need_known_classes_and_are_means_over_units():
    top = TopK(4)
    top.values = torch.ones(2, 4)
    scenes = SceneSet(HELD_OUT_SEED, 48)
    classes = scenes.classes()
    own = (classes == 1).nonzero().flatten()[:1].repeat(4)
    other = torch.stack([(classes == c).nonzero()[0, 0] for c in range(4)])
    top.images = torch.stack([own, other])
    assert deconvnet.class_entropies({"0": top}, scenes)["0"] == pytest.approx(1)
    assert deconvnet.class_entropies({"0": top}, None) == {}
    assert deconvnet.object_masks(None, [0], 8) is None


def test_ratios_are_given_above_the_first_layer():
    images = _noise(2, 3, 3, 8, 8)
    empty, boxes = torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, 4, dtype=torch.int64)
    top = deconvnet.TopProjections(
        empty[:, 0], empty, empty.float(), boxes[..., :2], boxes, images.flip(0)
    )
    shown = dict.fromkeys(("a", "b", "c"), top)
    ratios = deconvnet.variation_ratios(dict.fromkeys(shown, images), shown)
    assert list(ratios) == ["b", "c"] and ratios.mean == pytest.approx(1)
    assert deconvnet.list_targets({"a": [3, 1, 2], "b": [7]}, 2) == ["a:3", "a:1", "b:7"]


def test_similarity_is_the_mean_correlation_of_images_with_the_same_index():
    first = _noise(6, 3, 8, 8)
    half_inverted = torch.cat([first[:3], -first[3:]])
    similarities = deconvnet.similarity([first, -3 * first, half_inverted])
    assert torch.allclose(
        similarities, torch.tensor([[1.0, -1, 0], [-1, 1, 0], [0, 0, 1]]), atol=1e-5
    )


def test_each_rule_projects_the_highest_activation_over_the_dataset(network):
    dataset, units = tensor_images.noise(5, 32, seed=7), {"0": [4, 1], "2": [3]}
    top_images = {layer: TopK(3) for layer in units}
    tally(network, dataset.batches(5), {layer: [top] for layer, top in top_images.items()})
    by_rule = deconvnet.project_by_rule(network, dataset, units, top_images, ["guided", "linear"])
    assert list(by_rule) == ["guided", "linear"] and list(by_rule["guided"]) == ["0", "2"]
    for rule, by_layer in by_rule.items():
        for layer, layer_units in units.items():
            projections = project(
                network, dataset.images, [f"{layer}:{u}" for u in layer_units], rule=rule
            )
            best = projections.activations.argmax(0)
            assert best.tolist() == top_images[layer].images[layer_units, 0].tolist()
            for index, projection in enumerate(by_layer[layer]):
                energy = projections.pixels[best[index], index].square().sum()
                assert projection.square().sum() == pytest.approx(float(energy), rel=1e-4)
    assert not torch.equal(by_rule["guided"]["2"], by_rule["linear"]["2"])


def test_the_first_confidently_classified_image_of_each_class_is_selected():
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        net[2].weight.copy_(30 * torch.eye(3))
        net[2].bias.zero_()
    plain = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    model = models.load(net, input_size=4, normalization=plain)
    ambiguous, confident = torch.full((3,), 0.5), torch.eye(3) * 0.5 + 0.3
    ambiguous[2] += 0.001
    images = torch.stack(
        [confident[1], ambiguous, confident[0], confident[1], confident[2], confident[0]]
    )
    images = images[..., None, None].expand(-1, -1, 4, 4)
    predicted = model(images).argmax(1).tolist()
    assert predicted[1] == predicted[4]
    assert deconvnet.one_per_class(model, images, 9) == [0, 2, 4]
    assert deconvnet.one_per_class(model, images, 2) == [0, 2]
    assert deconvnet.one_per_class(model, images[:3], 9) == [0, 2, 1]
    assert deconvnet.one_per_class(model, images, 9, least=5) == [0, 2, 4, 1, 3]
    assert deconvnet.one_per_class(model, images, 2, least=5) == [0, 2]


def test_the_explanation_lies_where_occlusion_inactivates_the_unit():
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))
    model = models.load(net, input_size=32)
    with torch.no_grad():  # the unit is active where the image is brighter than 0.6
        model.net[0].weight[:], model.net[0].bias[:] = 1.0, 0.0
        response = hooks.activations(model, torch.full((1, 3, 32, 32), 0.6), ["0"])["0"]
        model.net[0].bias[:] = -response[0, 0, 0, 0]
        model.net[3].weight[0], model.net[3].weight[1], model.net[3].bias[:] = 0.1, 0.0, 0.0
    image = torch.full((3, 32, 32), 0.4)
    image[:, 20:25, 8:13] = 1.0
    explanation = deconvnet.explain(model, image, "0", side=6, step=1)
    activations = hooks.activations(model, image[None], ["0"])["0"]
    assert explanation.target == f"0:{int(activations[0].amax((1, 2)).argmax())}"
    activity_lost, probability_lost = explanation.activity_lost, explanation.probability_lost
    assert explanation.agreement("deconvnet") > 0.6
    assert activity_lost[20, 8] == activity_lost.max() == explanation.occlusion.baseline[0]
    energy = explanation.energy("deconvnet")
    assert energy[20, 8] == pytest.approx(float(energy.max())) and energy[0, 20] == 0
    assert explanation.probability > 0.5 and probability_lost[0, 20] == pytest.approx(0, abs=1e-6)
    assert probability_lost[20, 8] == pytest.approx(explanation.probability - 0.5, abs=1e-5)
    activity_lost = explanation.occlusion.on_pixels(activity_lost)
    assert activity_lost.shape == (32, 32)
    assert activity_lost.argmax() // 32 in range(20, 25) and activity_lost.argmax() % 32 in range(
        8, 13
    )
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[20:25, 8:13] = True
    squares = [mask[y : y + 6, x : x + 6].sum() for y in range(27) for x in range(27)]
    mean = torch.stack(squares).float().mean()
    assert explanation.object_coverage(mask) == pytest.approx(float(25 / mean), rel=1e-4)
    assert explanation.object_coverage(~mask) < 1
    pair, masks = [explanation] * 2, torch.stack([mask, ~mask])
    coverage = [explanation.object_coverage(one) for one in masks]
    assert deconvnet.mean_object_coverage(pair, masks) == pytest.approx(sum(coverage) / 2)
    assert deconvnet.mean_object_coverage(pair, None) is None
    agreement = {rule: explanation.agreement(rule) for rule in explanation.projections}
    assert deconvnet.mean_agreement(pair) == agreement


def test_object_masks_are_those_of_the_scenes_at_any_size():
    scenes = SceneSet(HELD_OUT_SEED, 8)
    masks = deconvnet.object_masks(scenes, [3, 5], 128)
    for mask, index in zip(masks, (3, 5), strict=True):
        scene = scenes.draw(index)
        expected = scene.instances == scene.objects[scene.main].number
        assert np.array_equal(mask.numpy(), expected) and expected.any()
    enlarged = deconvnet.object_masks(scenes, [3], 256)
    assert torch.equal(enlarged[0], masks[0].repeat_interleave(2, 0).repeat_interleave(2, 1))
