"""Occlusion on networks whose response is known."""

import numpy as np
import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.methods import deconvnet


def test_occlusion_is_what_covering_each_place_by_hand_gives(network, images):
    image, targets = images[0], ["0:2", "5:1", "2:4"]
    shown = deconvnet.occlude(network, image, targets, 3, side=12, step=5)
    assert shown.corners[:, 0, 0].tolist() == shown.corners[0, :, 1].tolist() == [0, 5, 10, 15, 20]
    for (row, column), (y, x) in zip(
        np.ndindex(5, 5), shown.corners.flatten(0, 1).tolist(), strict=True
    ):
        covered = image.clone()
        covered[:, y : y + 12, x : x + 12] = 0.5
        acts = hooks.activations(network, covered[None], ["0", "5", "2"])
        activity = [acts["0"][0, 2].relu().sum(), acts["5"][0, 1], acts["2"][0, 4].relu().sum()]
        assert torch.allclose(shown.activity[:, row, column], torch.stack(activity), atol=1e-4)
        chances = network(covered[None]).softmax(1)[0]
        assert torch.allclose(shown.probability[row, column], chances[3], atol=1e-6)
        assert shown.predicted[row, column] == chances.argmax()
    whole = hooks.activations(network, image[None], ["0"])["0"][0, 2].relu().sum()
    assert torch.allclose(shown.baseline[0], whole, atol=1e-4)


def test_activity_falls_only_where_the_square_covers_what_excites():
    net = nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.Linear(2 * 28 * 28, 2))
    spot = models.load(net, input_size=32)
    with torch.no_grad():  # it fires on what is brighter than 0.6, which gray is not
        spot.net[0].weight[:], spot.net[0].bias[:] = 1.0, 0.0
        even = hooks.activations(spot, torch.full((1, 3, 32, 32), 0.6), ["0"])["0"]
        spot.net[0].bias[:] = -even[0, 0, 0, 0]
    image = torch.full((3, 32, 32), 0.4)
    image[:, 20:25, 8:13] = 1.0
    shown = deconvnet.occlude(spot, image, ["0:0"], side=5, step=1)
    away = (shown.corners - torch.tensor([20, 8])).abs()
    fell = shown.activity[0] < shown.baseline[0] - 1e-3
    assert fell.sum() > 20 and not (fell & ~(away < 5).all(2)).any()
    assert shown.activity[0, 20, 8] == 0 < shown.baseline[0]
    energy = shown.sum_under(((image - 0.4) ** 2).sum(0))
    assert energy.argmax() == 20 * 28 + 8 and energy[20, 8] == pytest.approx(25 * 3 * 0.36)
    assert torch.equal(energy > 1e-6, (away < 5).all(2))


@pytest.mark.parametrize(("side", "step"), [(12, 5), (7, 6), (32, 3), (5, 1)])
def test_squares_reach_every_border_and_lie_no_further_apart_than_a_step(
    network, images, side, step
):
    corners = deconvnet.occlude(network, images[0], ["0:1"], side=side, step=step).corners
    for line in (corners[:, 0, 0], corners[0, :, 1]):
        assert line[0] == 0 and line[-1] == 32 - side
        assert not len(line) > 1 or 0 < line.diff().min() <= line.diff().max() <= step


def test_what_squares_measure_is_spread_over_the_pixels_they_cover(network, images):
    shown = deconvnet.occlude(network, images[0], ["0:1"], side=12, step=7)
    values = torch.rand(shown.corners.shape[:2], generator=torch.Generator().manual_seed(0))
    spread = shown.on_pixels(values)
    assert spread.shape == (32, 32)
    for y, x in ((0, 0), (31, 31), (13, 20), (11, 12)):
        away = torch.tensor([y, x]) - shown.corners
        own = values[((away >= 0) & (away < 12)).all(2)]
        assert spread[y, x] == pytest.approx(float(own.mean()), abs=1e-6)
    assert torch.allclose(shown.on_pixels(torch.ones_like(values)), torch.ones(32, 32))
    ones = shown.sum_under(torch.ones(32, 32))
    assert torch.equal(ones, torch.full_like(values, 144)) and shown.box == (0, 0, 12, 12)


def test_the_strongest_unit_is_the_one_with_the_highest_peak(network, images):
    acts = hooks.activations(network, images[:1], ["2", "6"])
    peak = acts["2"][0].amax((1, 2)).argmax()
    assert deconvnet.most_active_unit(network, images[0], "2") == f"2:{int(peak)}"
    assert deconvnet.most_active_unit(network, images[0], "6") == f"6:{int(acts['6'][0].argmax())}"


def test_covering_reaches_no_other_picture_and_not_the_original(images):
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
