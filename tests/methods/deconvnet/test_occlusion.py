"""Occlusion on networks whose response is known."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.data.images import Normalization
from cnnvis_lab.methods import deconvnet


def test_occlusion_equals_covering_one_position_at_a_time(network, images):
    image, targets = images[0], ["0:2", "5:1", "2:4"]
    occlusion = deconvnet.occlude(network, image, targets, 3, side=12, step=5)
    assert (
        occlusion.corners[:, 0, 0].tolist()
        == occlusion.corners[0, :, 1].tolist()
        == [0, 5, 10, 15, 20]
    )
    for (row, column), (y, x) in zip(
        np.ndindex(5, 5), occlusion.corners.flatten(0, 1).tolist(), strict=True
    ):
        covered = image.clone()
        covered[:, y : y + 12, x : x + 12] = 0.5
        activations = hooks.activations(network, covered[None], ["0", "5", "2"])
        activity = [
            activations["0"][0, 2].relu().sum(),
            activations["5"][0, 1],
            activations["2"][0, 4].relu().sum(),
        ]
        assert torch.allclose(occlusion.activity[:, row, column], torch.stack(activity), atol=1e-4)
        probabilities = network(covered[None]).softmax(1)[0]
        assert torch.allclose(occlusion.probability[row, column], probabilities[3], atol=1e-6)
        assert occlusion.predicted[row, column] == probabilities.argmax()
    unoccluded = hooks.activations(network, image[None], ["0"])["0"][0, 2].relu().sum()
    assert torch.allclose(occlusion.baseline[0], unoccluded, atol=1e-4)


def test_activity_decreases_only_where_the_square_covers_the_activating_pixels():
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))
    model = models.load(net, input_size=32)
    with torch.no_grad():  # the unit is active where the image is brighter than 0.6
        model.net[0].weight[:], model.net[0].bias[:] = 1.0, 0.0
        response = hooks.activations(model, torch.full((1, 3, 32, 32), 0.6), ["0"])["0"]
        model.net[0].bias[:] = -response[0, 0, 0, 0]
    image = torch.full((3, 32, 32), 0.4)
    image[:, 20:25, 8:13] = 1.0
    occlusion = deconvnet.occlude(model, image, ["0:0"], side=5, step=1)
    offset = (occlusion.corners - torch.tensor([20, 8])).abs()
    decreased = occlusion.activity[0] < occlusion.baseline[0] - 1e-3
    assert decreased.sum() > 20 and not (decreased & ~(offset < 5).all(2)).any()
    assert occlusion.activity[0, 20, 8] == 0 < occlusion.baseline[0]
    energy = occlusion.sum_under(((image - 0.4) ** 2).sum(0))
    assert energy.argmax() == 20 * 28 + 8 and energy[20, 8] == pytest.approx(25 * 3 * 0.36)
    assert torch.equal(energy > 1e-6, (offset < 5).all(2))


@pytest.mark.parametrize(("side", "step"), [(12, 5), (7, 6), (32, 3), (5, 1)])
def test_squares_reach_every_border_at_distances_of_at_most_one_step(network, images, side, step):
    corners = deconvnet.occlude(network, images[0], ["0:1"], side=side, step=step).corners
    for line in (corners[:, 0, 0], corners[0, :, 1]):
        assert line[0] == 0 and line[-1] == 32 - side
        assert not len(line) > 1 or 0 < line.diff().min() <= line.diff().max() <= step


def test_the_value_of_a_pixel_is_the_mean_over_the_squares_that_cover_it(network, images):
    occlusion = deconvnet.occlude(network, images[0], ["0:1"], side=12, step=7)
    values = torch.rand(occlusion.corners.shape[:2], generator=torch.Generator().manual_seed(0))
    spread = occlusion.on_pixels(values)
    assert spread.shape == (32, 32)
    for y, x in ((0, 0), (31, 31), (13, 20), (11, 12)):
        offset = torch.tensor([y, x]) - occlusion.corners
        covering = values[((offset >= 0) & (offset < 12)).all(2)]
        assert spread[y, x] == pytest.approx(float(covering.mean()), abs=1e-6)
    assert torch.allclose(occlusion.on_pixels(torch.ones_like(values)), torch.ones(32, 32))
    ones = occlusion.sum_under(torch.ones(32, 32))
    assert torch.equal(ones, torch.full_like(values, 144)) and occlusion.box == (0, 0, 12, 12)


def test_the_most_active_unit_has_the_highest_activation_of_any_position(network, images):
    activations = hooks.activations(network, images[:1], ["2", "6"])
    unit = activations["2"][0].amax((1, 2)).argmax()
    assert deconvnet.most_active_unit(network, images[0], "2") == f"2:{int(unit)}"
    assert (
        deconvnet.most_active_unit(network, images[0], "6")
        == f"6:{int(activations['6'][0].argmax())}"
    )


def test_a_unit_that_padding_activates_is_left_out_if_asked():
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False))
    nn.init.zeros_(net[0].weight)
    with torch.no_grad():
        net[0].weight[0, 0, 1, 1] = 9
        net[0].weight[0, 0, 0, 1] = -8.9  # 9 below padding, .1 elsewhere
        net[0].weight[1, 0, 1, 1] = 0.5
    model = models.load(net, input_size=12, channels=1, normalization=Normalization((0,), (1,)))
    image = torch.full((1, 12, 12), 0.5)
    image[0, 6, 6] = 0.9
    assert deconvnet.most_active_unit(model, image, "0") == "0:0"
    assert deconvnet.most_active_unit(model, image, "0", inside=True) == "0:1"
    image = torch.zeros(1, 12, 12)
    image[0, 0] = 1  # every unit is highest at the border
    assert deconvnet.most_active_unit(model, image, "0", inside=True) == "0:0"


def test_covering_changes_neither_other_pixels_nor_the_original_images(images):
    before = images.clone()
    boxes = torch.tensor([[-3, 2, 4, 6]]).expand(6, 4)
    covered = deconvnet.occlude_boxes(images, boxes)
    assert torch.equal(images, before)
    assert (covered[..., 0:4, 2:6] == 0.5).all()
    assert torch.equal(covered[..., 4:, :], images[..., 4:, :])


def test_wrong_squares_and_units_are_refused_in_one_line(network, images):
    with pytest.raises(InputError, match="square of 40"):
        deconvnet.occlude(network, images[0], ["0:1"], side=40)
    with pytest.raises(InputError, match="unit 6 of 0: it has 6"):
        deconvnet.occlude(network, images[0], ["0:6"])
