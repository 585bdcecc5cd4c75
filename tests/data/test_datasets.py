"""One word opens any set of pictures, all brought to one size."""

import numpy as np
import pytest
import torch
from PIL import Image

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.data import broden, images
from cnnvis_lab.data.scenes import HELD_OUT_SEED, draw


def test_the_empty_word_is_the_held_out_world():
    found = data.open_images("", 128, 3)
    first = images.from_uint8(draw(HELD_OUT_SEED, 0).image)
    assert len(found) == 3 and torch.equal(found.batch([0])[0], first)
    half = data.open_images("", 64, 3)
    assert half.batch([2, 0]).shape == (2, 3, 64, 64)


def test_a_broden_folder_is_read_in_the_order_of_its_index(tmp_path):
    broden.write_scenes(tmp_path / "world", 5)
    found = data.open_images(str(tmp_path / "world"), 128, 4)
    numbers, batch = zip(*found.batches(3), strict=True)
    assert [n.tolist() for n in numbers] == [[0, 1, 2], [3]]
    assert torch.equal(torch.cat(batch)[3], images.from_uint8(draw(2, 3).image))


def test_a_plain_folder_gives_its_images_by_name(tmp_path):
    for name, value in (("b.png", 0), ("a.jpg", 255), ("notes.txt", None)):
        if value is None:
            (tmp_path / name).write_text("no image")
        else:
            Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(tmp_path / name)
    found = data.open_images(str(tmp_path), 10, 9)
    assert found.batch([0, 1]).shape == (2, 3, 10, 10)
    assert found.batch([0, 1]).mean((1, 2, 3)).tolist() == pytest.approx([1, 0], abs=0.02)


def test_nothing_to_read_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileError, match="no folder with images"):
        data.open_images(str(tmp_path), 10, 3)
    with pytest.raises(InputError, match="at least 1"):
        data.open_images("", 10, 0)
