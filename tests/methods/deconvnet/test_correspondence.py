"""Part correspondence on faces whose parts are known."""

import pytest
import torch
from torch import nn

from cnnvis_lab import models
from cnnvis_lab.core import InputError, hooks
from cnnvis_lab.data.scenes import HELD_OUT_SEED, LABELS, SceneSet
from cnnvis_lab.methods import deconvnet


@pytest.fixture(scope="module")
def faces() -> deconvnet.Faces:
    return deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3)


def test_correspondence_is_the_fraction_of_signs_that_differ_for_each_pair(network, images):
    boxes = torch.tensor([[4, 6, 14, 18]]).expand(6, 4)
    distances = deconvnet.correspondence(network, images, {"part": boxes}, ["2", "5"])
    covered = images.clone()
    covered[..., 4:14, 6:18] = 0.5
    for layer in ("2", "5"):
        before, after = (hooks.activations(network, x, [layer])[layer] for x in (images, covered))
        signs = (before - after).flatten(1).sign()
        expected = [
            (signs[i] != signs[j]).float().mean() for i in range(6) for j in range(i + 1, 6)
        ]
        assert torch.allclose(distances[layer]["part"], torch.stack(expected))
        assert len(expected) == 15


def test_a_part_that_is_the_same_in_all_images_corresponds_more_than_random_boxes(network):
    generator = torch.Generator().manual_seed(4)
    patch = torch.rand(3, 8, 8, generator=generator)
    images = torch.rand(5, 3, 32, 32, generator=generator)
    images[..., 12:20, 12:20] = patch
    same = torch.tensor([[12, 12, 20, 20]]).expand(5, 4)
    random = deconvnet.random_boxes(same, torch.tensor([[0, 0, 32, 32]]).expand(5, 4), seed=1)
    distances = deconvnet.correspondence(network, images, {"same": same, "random": random}, ["2"])[
        "2"
    ]
    assert distances["same"].mean() < 0.7 * distances["random"].mean()
    identical = deconvnet.correspondence(
        network, images[:1].repeat(3, 1, 1, 1), {"a": same[:3]}, ["5"]
    )
    assert not identical["5"]["a"].any()


def test_random_boxes_have_the_given_sizes_and_lie_within_the_bounds():
    like = torch.tensor([[0, 0, 5, 9], [3, 3, 4, 4], [0, 0, 30, 30]])
    within = torch.tensor([[2, 4, 20, 20], [0, 0, 8, 8], [5, 5, 12, 12]])
    boxes = torch.stack([deconvnet.random_boxes(like, within, seed) for seed in range(60)])
    assert torch.equal(
        boxes[..., 2:] - boxes[..., :2], (like[:, 2:] - like[:, :2]).expand(60, 3, 2)
    )
    assert (boxes[:, :2, :2] >= within[:2, :2]).all() and (boxes[:, :2, 2:] <= within[:2, 2:]).all()
    assert (boxes[:, 0, :2].amax(0) == torch.tensor([15, 11])).all()  # the far corner occurs
    assert torch.equal(boxes[:, 2, :2], within[2, :2].expand(60, 2))  # too large: at the corner


def test_part_distances_are_means_over_pairs_and_the_random_one_also_over_sizes(faces):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 31 * 31, 2))
    model = models.load(net, input_size=128)
    result = deconvnet.part_distances(model, faces, ["0", "1"], seed=3)
    distances = result.by_layer
    by_pair = deconvnet.correspondence(model, faces.images, faces.parts, ["0", "1"])
    for layer in ("0", "1"):
        for part in faces.parts:
            assert distances[layer][part] == pytest.approx(float(by_pair[layer][part].mean()))
        random = [
            deconvnet.correspondence(
                model,
                faces.images,
                {"": deconvnet.random_boxes(like, faces.boxes, 3 + index)},
                [layer],
            )[layer][""].mean()
            for index, like in enumerate(faces.parts.values())
        ]
        assert distances[layer]["random"] == pytest.approx(float(torch.stack(random).mean()))
    assert result.gaps == {}  # the network has no class of faces
    known = deconvnet.PartDistances({"0": {"a": 0.1, "random": 0.5, "b": 0.3}}, True)
    assert known.gaps == {"0": pytest.approx(0.3)}


def test_boxes_of_parts_scale_with_the_image_size(faces):
    large = deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3, size=256)
    assert large.images.shape[-2:] == (256, 256)
    assert torch.equal(large.boxes, 2 * faces.boxes)
    for part, boxes in faces.parts.items():
        assert torch.equal(large.parts[part], 2 * boxes)
    small = deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 120), 3, size=100)
    for part, boxes in faces.parts.items():
        exact = boxes * (100 / 128)
        assert (small.parts[part][:, :2] <= exact[:, :2]).all()
        assert (small.parts[part][:, 2:] >= exact[:, 2:]).all()
        assert (small.parts[part] - exact).abs().max() < 1


def test_boxes_of_parts_contain_exactly_the_labeled_pixels(faces):
    scenes = SceneSet(HELD_OUT_SEED, 120)
    label = {name: LABELS["part"].index(name) + 1 for name in ("eye", "nose", "mouth")}
    matched = 0
    for index in range(len(scenes)):
        if matched == len(faces.images):
            break
        scene = scenes.draw(index)
        if not torch.equal(scenes.batch([index])[0], faces.images[matched]):
            continue
        face = scene.instances == scene.objects[scene.main].number
        for name, parts in (
            ("eye", ("left eye", "right eye")), ("nose", ("nose",)), ("mouth", ("mouth",)),
        ):  # fmt: skip
            pixels = torch.from_numpy(face & (scene.labels["part"] == label[name]))
            assert pixels.any()
            outside = pixels.clone()
            for part in parts:
                y0, x0, y1, x1 = faces.parts[part][matched].tolist()
                assert pixels[y0:y1, x0:x1].any()
                outside[y0:y1, x0:x1] = False
            assert not outside.any()
        assert faces.parts["left eye"][matched, 1] < faces.parts["right eye"][matched, 1]
        matched += 1
    assert matched == 3


def test_too_few_images_are_refused_in_one_line(network, images):
    with pytest.raises(InputError, match="expected at least 2"):
        boxes = {"a": torch.zeros(1, 4, dtype=torch.int64)}
        deconvnet.correspondence(network, images[:1], boxes, ["5"])
    with pytest.raises(InputError, match=r"faces in 20 images; expected at least 9"):
        deconvnet.select_faces(SceneSet(HELD_OUT_SEED, 20), 9)
