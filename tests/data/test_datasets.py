"""Sets of images and of labelled images: how they are opened, resized and labelled."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.data import broden, images, scenes
from cnnvis_lab.data.broden import Item, write_folder
from cnnvis_lab.data.scenes import HELD_OUT_SEED, SceneSet, draw


def test_the_empty_name_opens_the_held_out_scenes():
    opened = data.open_images("", 128, 3)
    first = images.from_uint8(draw(HELD_OUT_SEED, 0).image)
    assert len(opened) == 3 and torch.equal(opened.batch([0])[0], first)
    half = data.open_images("", 64, 3)
    assert half.batch([2, 0]).shape == (2, 3, 64, 64)


def test_a_broden_folder_is_read_in_the_order_of_its_index(tmp_path):
    broden.write_scenes(tmp_path / "world", 5)
    opened = data.open_images(str(tmp_path / "world"), 128, 5)
    numbers, batch = zip(*opened.batches(3), strict=True)
    assert [n.tolist() for n in numbers] == [[0, 1, 2], [3, 4]]
    assert torch.equal(torch.cat(batch)[3], images.from_uint8(draw(2, 3).image))


def test_a_part_of_a_broden_folder_is_a_sample_in_the_order_of_its_index(tmp_path):
    broden.write_scenes(tmp_path / "world", 12)
    whole = data.open_labelled(tmp_path / "world", 128, 12).batch(range(12))
    part = data.open_labelled(tmp_path / "world", 128, 5).batch(range(5))
    chosen = [next(n for n, one in enumerate(whole) if torch.equal(one, image)) for image in part]
    assert chosen == sorted(chosen) and chosen != [0, 1, 2, 3, 4]
    assert torch.equal(data.open_images(tmp_path / "world", 128, 5).batch(range(5)), part)


def test_scenes_are_labeled_at_any_size():
    whole, small = data.open_labelled("", 128, 3), data.open_labelled("", 32, 3)
    assert torch.equal(small.batch([2]), images.resize(whole.batch([2]), 32))
    assert small.label_maps([1]).shape[-2:] == (16, 16) and small.labels == whole.labels
    assert torch.equal(small.label_maps([1]), whole.label_maps([1])[..., 2::4, 2::4])
    large = data.open_labelled("", 200, 3)
    assert large.batch([0]).shape[-2:] == (200, 200)
    assert torch.equal(large.label_maps([1]), whole.label_maps([1]))
    sizes = [part.batch([0]).shape[-1] for part in data.open_labelled_splits("", 48, 2, 3)]
    assert sizes == [48, 48] and isinstance(small, data.LabelledSet)


def test_a_source_without_images_is_refused(tmp_path):
    with pytest.raises(FileError, match="no folder with images"):
        data.open_images(str(tmp_path), 10, 3)
    with pytest.raises(InputError, match="at least 1"):
        data.open_images("", 10, 0)


NAMES = {"object": ("dog", "cat"), "texture": ("dotted",)}


@pytest.fixture
def folder(tmp_path) -> broden.Broden:
    """Two images: one with an object map and a texture, one with only an object map."""
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    cat, dogs = np.zeros((2, 8, 8), dtype=np.uint8)
    cat[:, 4:], dogs[:4] = 2, 1
    items = [
        Item("a", pixels[0], "train", {"object": dogs, "texture": 1}),
        Item("b", pixels[1], "val", {"object": cat}),
    ]
    write_folder(tmp_path / "folder", items, NAMES)
    return broden.open_folder(tmp_path / "folder")


def test_label_maps_of_the_scenes_agree_with_their_images():
    labelled, fresh = SceneSet(2, 5, start=3, labelled=True), SceneSet(2, 5, start=3)
    maps = labelled.label_maps([4, 1])
    assert torch.equal(maps, fresh.label_maps([4, 1]))
    scene_image, labels = fresh.draw(4), labelled.labels
    for layer, category in zip(maps[0].numpy(), data.CATEGORIES, strict=True):
        for value in np.unique(layer):
            if value and category != "scene":
                index = scenes.LABELS[category].index(labels[int(value)].name) + 1
                truth = scene_image.labels[category][::2, ::2] == index
                assert np.array_equal(layer == value, truth)
            assert not value or labels[int(value)].category == category
    assert labels[int(maps[0, 4, 0, 0])].name == scenes.LABELS["scene"][scene_image.scene - 1]
    assert isinstance(labelled, data.LabelledSet) and data.as_labelled(labelled) is labelled


def test_keeping_labels_changes_no_image():
    labelled, plain = SceneSet(2, 3, labelled=True), SceneSet(2, 3)
    labelled.label_maps([2])
    assert torch.equal(labelled.batch([0, 1, 2]), plain.batch([0, 1, 2]))


def test_label_maps_of_a_folder_are_padded_with_empty_layers(folder):
    labelled = data.as_labelled(folder)
    maps = labelled.label_maps([0, 1])
    assert maps.shape == (2, 2, 4, 4) and len(labelled) == 2
    assert maps[0, 0, :2].eq(1).all() and maps[0, 0, 2:].eq(0).all() and maps[0, 1].eq(3).all()
    assert maps[1, 0, :, 2:].eq(2).all() and maps[1, 1].eq(0).all()
    assert torch.equal(labelled.batch([1]), folder.read_image(1)[None])


def test_labels_keep_their_positions_on_resized_images(folder):
    labelled = data.as_labelled(folder, 12)
    assert labelled.batch([0, 1]).shape == (2, 3, 12, 12)
    mixed = replace(
        folder, records=(replace(folder.records[0], image_size=(16, 8)), folder.records[1])
    )
    with pytest.raises(InputError, match="2 sizes"):
        data.as_labelled(mixed)
    taller = replace(labelled, label_size=(8, 4)).label_maps([0, 1])
    assert torch.equal(taller, labelled.label_maps([0, 1]).repeat_interleave(2, 2))
    small = replace(labelled, label_size=(2, 2)).label_maps([1])
    assert small[0, 0].tolist() == [[0, 2], [0, 2]]


def test_a_set_without_labels_is_refused():
    with pytest.raises(InputError, match="has no label maps"):
        data.as_labelled(data.ResizedImages("", 8, 1, lambda _: torch.zeros(1, 3, 8, 8)))


def test_images_at_another_size_are_the_same_images_resized():
    small = data.open_images("", 32, 2)
    assert small.at_size(32) is small
    larger = small.at_size(48)
    assert larger.size == 48 and len(larger) == 2
    assert torch.equal(larger.batch([1]), images.resize(small.batch([1]), 48))


def test_images_with_damaged_pixels_or_labels_are_left_out_of_a_folder_if_asked(tmp_path):
    data.broden.write_scenes(tmp_path / "made", 4)
    for broken in ("scene_2_000001.png", "scene_2_000003_object.png"):
        file = tmp_path / "made" / "images" / broken
        file.write_bytes(file.read_bytes()[:100])
    whole = data.open_labelled(tmp_path / "made", 32, 9, skip_damaged=True)
    every = data.open_labelled(tmp_path / "made", 32, 9)
    names = [record.image for record in every.folder.records]
    kept = [names.index(f"scene_2_00000{n}.png") for n in (0, 2)]
    order = [names.index(record.image) for record in whole.folder.records]
    assert sorted(order) == sorted(kept) and whole.batch([0, 1]).equal(every.batch(order))
    for read, broken in ((every.batch, "1"), (every.label_maps, "3")):
        with pytest.raises(FileError):
            read([names.index(f"scene_2_00000{broken}.png")])
