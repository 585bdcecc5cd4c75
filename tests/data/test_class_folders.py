"""Images keep the class of their folder, in any selection."""

import pytest
import torch

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.data import images

LEVELS = {"cat": 0.2, "dog": 0.5, "owl": 0.9}


@pytest.fixture
def folder(tmp_path):
    for name, level in LEVELS.items():
        (tmp_path / name / "more").mkdir(parents=True)
        for n in range(6):
            part = "more" if n % 2 else "."
            images.to_pil(torch.full((3, 10, 12), level)).save(tmp_path / name / part / f"{n}.png")
    return tmp_path


def test_each_image_has_the_class_of_its_folder_in_any_selection(folder):
    everything = data.open_class_folders(folder, 8, 100)
    assert everything.names == ("cat", "dog", "owl") and len(everything) == 18
    levels = torch.tensor([*LEVELS.values()])
    for chosen in (everything, everything.take([5, 2, 11]), data.open_class_folders(folder, 8, 7)):
        indices = [*range(len(chosen))]
        found = chosen.batch(indices)
        assert found.shape[1:] == (3, 8, 8)
        assert torch.allclose(found.mean((1, 2, 3)), levels[chosen.classes(indices)], atol=0.01)
        batches = torch.cat([batch for _, batch in chosen.batches(4)])
        assert torch.equal(batches, found)
    assert {*everything.classes(range(6)).tolist()} == {0, 1, 2}  # a beginning has all classes


def test_images_without_classes_are_refused(folder, tmp_path):
    images.to_pil(torch.zeros(3, 9, 9)).save(folder / "beside.png")
    with pytest.raises(InputError, match="no image beside"):
        data.open_class_folders(folder, 8, 9)
    with pytest.raises(InputError, match="has 1 folders"):
        data.open_class_folders(folder / "cat", 8, 9)
    with pytest.raises(FileError):
        data.open_class_folders(tmp_path / "none", 8, 9)
