"""Occlusion, movement and part correspondence on networks whose answers are known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, NameNotFound, hooks
from cnnvis_lab.data.scenes import HELD_OUT_SEED, LABELS, SceneSet
from cnnvis_lab.methods import deconvnet
from cnnvis_lab.methods.deconvnet.invariance import default_amounts, transform_images


@pytest.fixture(scope="module")
def network() -> models.Model:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip
    return models.load(net, input_size=32)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def faces() -> deconvnet.Faces:
    return deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3)


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
        assert shown.named[row, column] == chances.argmax()
    whole = hooks.activations(network, image[None], ["0"])["0"][0, 2].relu().sum()
    assert torch.allclose(shown.whole[0], whole, atol=1e-4)


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
    fell = shown.activity[0] < shown.whole[0] - 1e-3
    assert fell.sum() > 20 and not (fell & ~(away < 5).all(2)).any()
    assert shown.activity[0, 20, 8] == 0 < shown.whole[0]
    energy = shown.energy(image - 0.4)
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
    ones = shown.covered(torch.ones(32, 32))
    assert torch.equal(ones, torch.full_like(values, 144)) and shown.box == (0, 0, 12, 12)


def test_the_strongest_unit_is_the_one_with_the_highest_peak(network, images):
    acts = hooks.activations(network, images[:1], ["2", "6"])
    peak = acts["2"][0].amax((1, 2)).argmax()
    assert deconvnet.most_active_unit(network, images[0], "2") == f"2:{int(peak)}"
    assert deconvnet.most_active_unit(network, images[0], "6") == f"6:{int(acts['6'][0].argmax())}"


def test_moving_by_nothing_changes_nothing(images):
    for kind, amount in (("translation", 0), ("scale", 1.0), ("rotation", 0), ("rotation", 360)):
        assert torch.allclose(transform_images(images, kind, amount), images, atol=1e-4)


def test_pictures_move_as_told_and_gray_comes_in():
    image = torch.full((1, 3, 20, 20), 0.5)
    image[..., 3:6, 12:14] = 1.0
    down = transform_images(image, "translation", 4)
    assert torch.equal(down[..., 7:10, 12:14], image[..., 3:6, 12:14])
    assert torch.equal(transform_images(down, "translation", -4), image)
    assert float((down - 0.5).sum()) == pytest.approx(float((image - 0.5).sum()))
    assert torch.allclose(transform_images(image, "rotation", 180), image.flip(2, 3), atol=1e-4)
    half = transform_images(image, "scale", 0.5)
    assert half.shape == image.shape and half[..., :5, :].eq(0.5).all()


def test_a_pooled_layer_does_not_see_a_shift_that_the_first_one_does(network):
    image = torch.full((2, 3, 32, 32), 0.5)
    image[..., 12:18, 12:18] = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([1, 2])
    shown = deconvnet.invariance(network, image, labels, "translation", [-4, 0, 4], ["1", "5"])
    assert torch.allclose(shown.distances["5"], torch.zeros(3, 2), atol=1e-5)
    assert not shown.distances["1"][1].any() and (shown.distances["1"][[0, 2]] > 0.05).all()
    moved = hooks.activations(network, transform_images(image, "translation", 4), ["1"])["1"]
    plain = hooks.activations(network, image, ["1"])["1"]
    by_hand = (plain - moved).flatten(1).norm(dim=1) / plain.flatten(1).norm(dim=1)
    assert torch.allclose(shown.distances["1"][2], by_hand, atol=1e-5)
    chances = network(image).softmax(1)
    assert torch.allclose(shown.probability[1], chances[torch.arange(2), labels], atol=1e-6)
    first, second = plain.flatten(1)
    apart = (first - second).norm() * (1 / first.norm() + 1 / second.norm()) / 2
    assert shown.apart["1"] == pytest.approx(float(apart), rel=1e-3)


def test_curves_are_means_over_pictures_in_units_of_the_distance_between_two(network, images):
    shown = deconvnet.invariance(network, images, None, "rotation", [0, 90, 180], ["1", "5"])
    amounts, line = shown.curves["5"]
    assert amounts == (0, 90, 180) and list(shown.curves) == ["1", "5", "p(class)"]
    assert torch.allclose(line, shown.distances["5"].mean(1) / shown.apart["5"])
    assert line[0] == pytest.approx(0, abs=1e-4) and line[1] > 0
    usual = deconvnet.invariance(network, images, None, "translation", None, ["5"])
    assert usual.amounts == tuple(range(-8, 9))  # a quarter of 32 pixels each way
    for kind in deconvnet.TRANSFORMATIONS:
        amounts = default_amounts(kind, 128)
        still = {"scale": 1}.get(kind, 0)
        assert still in amounts and amounts == sorted(set(amounts))
        assert torch.allclose(transform_images(images, kind, still), images, atol=1e-4)
    assert shown.means["5"] == pytest.approx(float(line.mean()))
    named = network(images).softmax(1).amax(1)  # without labels, the class that is named
    assert shown.curves["p(class)"][1][0] == pytest.approx(float(named.mean()), abs=1e-5)


def test_correspondence_is_the_share_of_signs_that_differ_pair_by_pair(network, images):
    boxes = torch.tensor([[4, 6, 14, 18]]).expand(6, 4)
    found = deconvnet.correspondence(network, images, {"part": boxes}, ["2", "5"])
    covered = images.clone()
    covered[..., 4:14, 6:18] = 0.5
    for layer in ("2", "5"):
        before, after = (hooks.activations(network, x, [layer])[layer] for x in (images, covered))
        signs = (before - after).flatten(1).sign()
        slow = [(signs[i] != signs[j]).float().mean() for i in range(6) for j in range(i + 1, 6)]
        assert torch.allclose(found[layer]["part"], torch.stack(slow))
        assert len(slow) == 15


def test_a_part_that_always_means_the_same_corresponds_and_a_random_one_less(network):
    generator = torch.Generator().manual_seed(4)
    patch = torch.rand(3, 8, 8, generator=generator)
    images = torch.rand(5, 3, 32, 32, generator=generator)
    images[..., 12:20, 12:20] = patch
    same = torch.tensor([[12, 12, 20, 20]]).expand(5, 4)
    others = deconvnet.random_boxes(same, torch.tensor([[0, 0, 32, 32]]).expand(5, 4), seed=1)
    found = deconvnet.correspondence(network, images, {"same": same, "random": others}, ["2"])["2"]
    assert found["same"].mean() < 0.7 * found["random"].mean()
    identical = deconvnet.correspondence(
        network, images[:1].repeat(3, 1, 1, 1), {"a": same[:3]}, ["5"]
    )
    assert not identical["5"]["a"].any()


def test_random_boxes_have_the_size_they_should_and_lie_within():
    like = torch.tensor([[0, 0, 5, 9], [3, 3, 4, 4], [0, 0, 30, 30]])
    within = torch.tensor([[2, 4, 20, 20], [0, 0, 8, 8], [5, 5, 12, 12]])
    drawn = torch.stack([deconvnet.random_boxes(like, within, seed) for seed in range(60)])
    assert torch.equal(
        drawn[..., 2:] - drawn[..., :2], (like[:, 2:] - like[:, :2]).expand(60, 3, 2)
    )
    assert (drawn[:, :2, :2] >= within[:2, :2]).all() and (drawn[:, :2, 2:] <= within[:2, 2:]).all()
    assert (drawn[:, 0, :2].amax(0) == torch.tensor([15, 11])).all()  # the far corner is drawn, too
    assert torch.equal(drawn[:, 2, :2], within[2, :2].expand(60, 2))  # too large: at the corner


def test_distances_of_parts_are_means_over_pairs_and_random_ones_over_sizes_too(faces):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 31 * 31, 2))
    model = models.load(net, input_size=128)
    found = deconvnet.part_distances(model, faces, ["0", "1"], seed=3)
    by_pair = deconvnet.correspondence(model, faces.images, faces.parts, ["0", "1"])
    for layer in ("0", "1"):
        for part in faces.parts:
            assert found[layer][part] == pytest.approx(float(by_pair[layer][part].mean()))
        random = [
            deconvnet.correspondence(
                model, faces.images, {"": deconvnet.random_boxes(like, faces.whole, 3 + n)}, [layer]
            )[layer][""].mean()
            for n, like in enumerate(faces.parts.values())
        ]
        assert found[layer]["random"] == pytest.approx(float(torch.stack(random).mean()))
    assert deconvnet.distance_gap({"a": 0.1, "random": 0.5, "b": 0.3}) == pytest.approx(0.3)


def test_faces_of_another_size_have_boxes_around_the_same_parts(faces):
    large = deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3, size=256)
    assert large.images.shape[-2:] == (256, 256)
    assert torch.equal(large.whole, 2 * faces.whole)
    for part, boxes in faces.parts.items():
        assert torch.equal(large.parts[part], 2 * boxes)
    small = deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3, size=100)
    for part, boxes in faces.parts.items():
        exact = boxes * (100 / 128)
        assert (small.parts[part][:, :2] <= exact[:, :2]).all()
        assert (small.parts[part][:, 2:] >= exact[:, 2:]).all()
        assert (small.parts[part] - exact).abs().max() < 1


def test_planted_parts_lie_where_their_pixels_are_labelled(faces):
    world = SceneSet(HELD_OUT_SEED, 120)
    number = {name: LABELS["part"].index(name) + 1 for name in ("eye", "nose", "mouth")}
    found = 0
    for index in range(len(world)):
        if found == len(faces.images):
            break
        picture = world.draw(index)
        if not torch.equal(world.batch([index])[0], faces.images[found]):
            continue
        face = picture.instances == picture.objects[picture.main].number
        for name, parts in (
            ("eye", ("left eye", "right eye")), ("nose", ("nose",)), ("mouth", ("mouth",)),
        ):  # fmt: skip
            pixels = torch.from_numpy(face & (picture.labels["part"] == number[name]))
            assert pixels.any()
            outside = pixels.clone()
            for part in parts:
                y0, x0, y1, x1 = faces.parts[part][found].tolist()
                assert pixels[y0:y1, x0:x1].any()
                outside[y0:y1, x0:x1] = False
            assert not outside.any()
        assert faces.parts["left eye"][found, 1] < faces.parts["right eye"][found, 1]
        found += 1
    assert found == 3


def test_mistakes_are_refused_in_one_line(network, images):
    with pytest.raises(InputError, match="square of 40"):
        deconvnet.occlude(network, images[0], ["0:1"], side=40)
    with pytest.raises(InputError, match="unit 6 of 0: it has 6"):
        deconvnet.occlude(network, images[0], ["0:6"])
    with pytest.raises(NameNotFound, match="did you mean rotation"):
        transform_images(images, "rotate", 3)
    with pytest.raises(NameNotFound, match="did you mean scale"):
        default_amounts("scales", 32)
    with pytest.raises(InputError, match="expected at least 2"):
        deconvnet.correspondence(
            network, images[:1], {"a": torch.zeros(1, 4, dtype=torch.int64)}, ["5"]
        )
    with pytest.raises(InputError, match=r"faces in 20 pictures; wanted 9"):
        deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 20), 9)


def test_covering_reaches_no_other_picture_and_not_the_original(images):
    before = images.clone()
    boxes = torch.tensor([[-3, 2, 4, 6]]).expand(6, 4)
    covered = deconvnet.occlude_boxes(images, boxes)
    assert torch.equal(images, before)
    assert (covered[..., 0:4, 2:6] == 0.5).all()
    assert torch.equal(covered[..., 4:, :], images[..., 4:, :])
