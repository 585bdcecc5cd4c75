"""Plain folders and torch's own datasets are opened whole, in a fixed shuffled order."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import TensorDataset
from torchvision.datasets import ImageFolder

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError, files
from cnnvis_lab.data import folders


def _write(path, gray):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), gray, np.uint8)).save(path)


@pytest.fixture
def classes(tmp_path):
    """Three folders of 40 images; the gray value tells the class."""
    for number, name in enumerate(("ant", "bee", "cow")):
        for index in range(40):
            _write(tmp_path / "classes" / name / f"{index}.png", 100 * number)
    return tmp_path / "classes"


def test_a_part_of_a_folder_is_a_sample_of_all_its_classes(classes):
    opened = data.open_images(classes, 8, 30)
    grays = opened.batch(range(30)).mean((1, 2, 3)).mul(255).round().int()
    counts = [int((grays == gray).sum()) for gray in (0, 100, 200)]
    assert sum(counts) == len(opened) == 30 and min(counts) >= 4
    again = data.open_images(str(classes), 8, 30)
    assert torch.equal(again.batch(range(30)), opened.batch(range(30)))
    longer = data.open_images(classes, 8, 99)
    assert torch.equal(longer.batch(range(30)), opened.batch(range(30)))


@given(st.lists(st.text(max_size=5), unique=True), st.integers(0, 20))
def test_a_sample_depends_on_the_set_of_names_only(names, count):
    chosen = [names[index] for index in folders.sample(names, count)]
    backwards = names[::-1]
    assert chosen == [backwards[index] for index in folders.sample(backwards, count)]
    assert len(chosen) == len({*chosen}) == min(count, len(names))


def test_hidden_files_are_left_out_and_every_kind_of_image_is_found(tmp_path):
    for name in ("a.png", "b.JPG", "c.ppm", "sub/d.gif", "e.bmp", "f.tiff", "g.jp2", "h.webp"):
        _write(tmp_path / name, 50)
    for name in (".ipynb_checkpoints/a.png", "._a.jpg", "__MACOSX/a.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert len(data.open_images(tmp_path, 8, 99)) == 8
    was = files.recorded_inputs()[str(tmp_path.resolve())]
    assert was == files.digest(tmp_path)
    _write(tmp_path / "i.png", 50)  # which a run on the folder would read, too
    assert was != files.digest(tmp_path)


def test_a_damaged_image_is_named_when_the_folder_is_opened(classes):
    whole = (classes / "bee" / "7.png").read_bytes()
    (classes / "bee" / "7.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"1 of 120 images in .*bee/7.png .*--skip-damaged"):
        data.open_images(classes, 8, 999)
    assert len(data.open_images(classes, 8, 999, skip_damaged=True)) == 119


def test_a_folder_of_damaged_images_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FileError, match="1 of 1 images"):
        data.open_images(tmp_path, 8, 9, skip_damaged=True)


def test_torch_datasets_and_tensors_are_taken(classes):
    images = torch.rand(6, 3, 8, 8)
    from_tensor = data.open_images(images, 8, 6).batch(range(6))
    assert torch.equal(from_tensor.sort(0).values, images.sort(0).values)
    with_labels = data.open_images(TensorDataset(images, torch.arange(6)), 8, 6)
    assert torch.equal(with_labels.batch(range(6)), from_tensor)
    gray = data.open_images((images[:, :1] * 255).byte(), 8, 6).batch([0])
    assert gray.shape == (1, 3, 8, 8) and torch.equal(gray[:, 0], gray[:, 2]) and gray.max() <= 1
    pictures = data.open_images(ImageFolder(str(classes)), 8, 30)
    assert len(pictures) == 30 and pictures.batch([0, 1]).shape == (2, 3, 8, 8)
    assert data.open_images(torch.rand(2, 28, 28), 32, 9).batch([1]).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        (torch.randn(3, 3, 8, 8) * 9, "values from .*leave normalization to the network"),
        (torch.rand(3, 5, 8, 8), "5 channels"),
        (torch.rand(3), r"an item of the dataset is \(\)"),
    ],
)
def test_items_that_are_no_images_are_refused_in_one_line(items, says):
    with pytest.raises(InputError, match=says) as caught:
        data.open_images(items, 8, 3)
    assert "\n" not in str(caught.value)


def test_a_folder_may_begin_with_the_home_folder(classes, monkeypatch):
    monkeypatch.setenv("HOME", str(classes.parent))
    assert len(data.open_images("~/classes", 8, 5)) == 5
