"""Data sets with label maps: the world as drawn, and folders stretched to a network's size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnnvis_lab import data
from cnnvis_lab.core import InputError
from cnnvis_lab.data import as_labelled, broden, scenes
from cnnvis_lab.data.broden import Item, write_folder
from cnnvis_lab.data.scenes import SceneSet

NAMES = {"object": ("dog", "cat"), "texture": ("dotted",)}


@pytest.fixture
def folder(tmp_path) -> broden.Broden:
    """Two pictures: one with an object map and a texture, one with half a cat only."""
    pictures = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    cat, dogs = np.zeros((2, 8, 8), dtype=np.uint8)
    cat[:, 4:], dogs[:4] = 2, 1
    items = [
        Item("a", pictures[0], "train", {"object": dogs, "texture": 1}),
        Item("b", pictures[1], "val", {"object": cat}),
    ]
    write_folder(tmp_path / "folder", items, NAMES)
    return broden.open_folder(tmp_path / "folder")


def test_label_maps_of_the_world_say_what_its_pictures_show():
    kept, fresh = SceneSet(2, 5, start=3, labelled=True), SceneSet(2, 5, start=3)
    maps = kept.label_maps([4, 1])
    assert torch.equal(maps, fresh.label_maps([4, 1]))
    picture, labels = fresh.draw(4), kept.labels
    for layer, category in zip(maps[0].numpy(), data.CATEGORIES, strict=True):
        for value in np.unique(layer):
            if value and category != "scene":
                index = scenes.LABELS[category].index(labels[int(value)].name) + 1
                truth = picture.labels[category][::2, ::2] == index
                assert np.array_equal(layer == value, truth)
            assert not value or labels[int(value)].category == category
    assert labels[int(maps[0, 4, 0, 0])].name == scenes.LABELS["scene"][picture.scene - 1]
    assert isinstance(kept, data.LabelledSet) and data.as_labelled(kept) is kept


def test_keeping_labels_changes_no_picture():
    kept, plain = SceneSet(2, 3, labelled=True), SceneSet(2, 3)
    kept.label_maps([2])
    assert torch.equal(kept.batch([0, 1, 2]), plain.batch([0, 1, 2]))


def test_a_folder_gives_its_layers_and_empty_ones_where_a_picture_has_fewer(folder):
    data = as_labelled(folder)
    maps = data.label_maps([0, 1])
    assert maps.shape == (2, 2, 4, 4) and len(data) == 2
    assert maps[0, 0, :2].eq(1).all() and maps[0, 0, 2:].eq(0).all() and maps[0, 1].eq(3).all()
    assert maps[1, 0, :, 2:].eq(2).all() and maps[1, 1].eq(0).all()
    assert torch.equal(data.batch([1]), folder.read_image(1)[None])


def test_labels_lie_on_stretched_pictures_where_they_lay_before(folder):
    data = as_labelled(folder, 12)
    assert data.batch([0, 1]).shape == (2, 3, 12, 12)
    mixed = replace(
        folder, records=(replace(folder.records[0], image_size=(16, 8)), folder.records[1])
    )
    with pytest.raises(InputError, match="2 sizes"):
        as_labelled(mixed)
    taller = replace(data, label_size=(8, 4)).label_maps([0, 1])
    assert torch.equal(taller, data.label_maps([0, 1]).repeat_interleave(2, 2))
    small = replace(data, label_size=(2, 2)).label_maps([1])
    assert small[0, 0].tolist() == [[0, 2], [0, 2]]


def test_what_has_no_labels_is_refused():
    with pytest.raises(InputError, match="holds no label maps"):
        data.as_labelled(data.ResizedImages("", 8, 1, lambda _: torch.zeros(1, 3, 8, 8)))
