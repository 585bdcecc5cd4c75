"""Images with a folder for each class, as a classifier is trained on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..core import Images, InputError, Int
from . import images
from .folders import Reader, image_paths, read_folder, sample


@dataclass(frozen=True)
class ClassFolders:
    """Images of one size, each with its class.

    Attributes:
        names: class names: the folders', in alphabetical order.
        numbers: (n,) index of each image's class.
        order: index of each image in what `read` reads.
        read: function from such indices to images.
    """

    names: tuple[str, ...]
    numbers: Int[Tensor, " n"]
    order: tuple[int, ...]
    read: Reader

    def __len__(self) -> int:
        return len(self.order)

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by index."""
        return self.read([self.order[index] for index in indices])

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        for indices in torch.arange(len(self)).split(size):
            yield indices, self.batch(indices.tolist())

    def classes(self, indices: Sequence[int]) -> Int[Tensor, " n"]:
        """Return the classes of images by index."""
        return self.numbers[list(indices)]

    def take(self, indices: Sequence[int]) -> "ClassFolders":
        """Return some of the images."""
        order = tuple(self.order[index] for index in indices)
        return replace(self, numbers=self.classes(indices), order=order)


def open_class_folders(source: str | Path, size: images.Size, count: int) -> ClassFolders:
    """Open a folder with one folder of images for each class.

    Args:
        source: the folder.
        size: pixels of a square image, or (height, width).
        count: maximum number of images, which are sampled from all.

    Raises:
        FileError: there are no images, or one is damaged.
        InputError: there are fewer than two classes.
    """
    folder = Path(source).expanduser()
    paths = [path.relative_to(folder).parts for path in image_paths(folder)]
    names = sorted({parts[0] for parts in paths if len(parts) > 1})
    if len(names) < 2 or any(len(parts) < 2 for parts in paths):
        raise InputError(
            f"{folder} has {len(names)} folders with images; expected one for each of at least two "
            "classes, and no image beside them"
        )
    order = sample(["/".join(parts) for parts in paths], count)
    read, found = read_folder(folder, size, count, False)
    numbers = torch.tensor([names.index(paths[index][0]) for index in order])
    return ClassFolders(tuple(names), numbers, tuple(range(found)), read)
