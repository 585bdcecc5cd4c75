"""Pictures with label maps: what a data set must offer to be compared with a network's units."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ..core import FileError, Images, InputError, Int, UInt8
from . import broden, images
from .broden import Broden, open_folder, resolve
from .labels import Label
from .scenes import HELD_OUT_SEED, SceneSet


@runtime_checkable
class LabelledSet(Protocol):
    """A data set of pictures of one size whose label maps lie on them on a coarser grid.

    `scenes.sets.PictureSet` is one; `of` makes one of a Broden folder.
    """

    @property
    def labels(self) -> Mapping[int, Label]:
        """Every concept by its number in the label maps; 0 is none."""

    def __len__(self) -> int:
        """How many pictures there are."""

    def batch(self, indices: Sequence[int]) -> Images:
        """Return pictures in [0, 1] by their numbers."""

    def label_maps(
        self, indices: Sequence[int]
    ) -> Int[Tensor, "n layers y x"] | UInt8[Tensor, "n layers y x"]:
        """Return what each pixel shows, in any number of layers.

        A concept counts once where several layers say it. A layer that is one number throughout
        is a label of the whole picture.
        """


@dataclass(frozen=True)
class LabelledFolder:
    """A Broden folder whose pictures are stretched to one size.

    Attributes:
        folder: the folder.
        size: height and width pictures are brought to.
        label_size: height and width label maps are brought to, each pixel from the nearest.
    """

    folder: Broden
    size: tuple[int, int]
    label_size: tuple[int, int]

    @property
    def labels(self) -> dict[int, Label]:
        """Every concept of the folder by its number."""
        return self.folder.labels

    def __len__(self) -> int:
        return len(self.folder)

    def batch(self, indices: Sequence[int]) -> Images:
        """Return pictures in [0, 1] by their numbers."""
        pictures = [self.folder.read_image(index) for index in indices]
        return torch.stack([images.resize(picture, self.size) for picture in pictures])

    def label_maps(self, indices: Sequence[int]) -> Int[Tensor, "n layers y x"]:
        """Return label maps; pictures with fewer layers than others get empty ones (0)."""
        pictures = [self._maps(index) for index in indices]
        maps = np.zeros((len(pictures), max(map(len, pictures)), *self.label_size), np.int32)
        for row, layers in zip(maps, pictures, strict=True):
            row[: len(layers)] = layers
        return torch.from_numpy(maps)

    def _maps(self, index: int) -> np.ndarray:
        by_category = self.folder.read_labels(index)
        if not by_category:
            return np.zeros((0, *self.label_size), np.int32)
        maps = np.concatenate(list(by_category.values()))
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in zip(self.label_size, maps.shape[1:], strict=True)
        )
        return maps[:, rows[:, None], columns]


def as_labelled(data: object, size: int | None = None) -> LabelledSet:
    """Return pictures with label maps of anything that has them.

    Args:
        data: a Broden folder, or what already is `Labelled`.
        size: side a folder's pictures are stretched to, with their labels, as the network needs
            them; None for the size they are stored in, which then must be one.

    Raises:
        InputError: no such data set, or pictures of several sizes without `size`.
    """
    if isinstance(data, LabelledSet):
        return data
    if not isinstance(data, Broden):
        what = f"{type(data).__name__} holds no label maps"
        raise InputError(f"{what}; give a PictureSet, an opened Broden folder or a Labelled set")
    sizes = {record.image_size for record in data.records}
    if size is None and len(sizes) > 1:
        raise InputError(f"{data.path.name} holds pictures of {len(sizes)} sizes; give size=PIXELS")
    target = sizes.pop() if size is None else (size, size)
    label_sizes = {record.label_size for record in data.records}
    half = (-(-target[0] // 2), -(-target[1] // 2))
    return LabelledFolder(data, target, label_sizes.pop() if len(label_sizes) == 1 else half)


def has_labels(source: str | Path) -> bool:
    """Return whether the pictures `open_set` would open have label maps."""
    return not source or (resolve(source) / "index.csv").is_file()


def open_labelled(source: str | Path, size: int, count: int, split: str = "all") -> LabelledSet:
    """Open pictures with label maps by one word.

    Args:
        source: "" for the embedded world's held-out pictures; else a folder in the Broden format,
            or the name of one that `broden_download.fetch` got.
        size: side, in pixels, that a folder's pictures are stretched to.
        count: the first so many at most.
        split: of a folder: "train", "val" or "all".

    Raises:
        FileProblem: the folder is none in the Broden format.
        InputError: no picture asked for, or none of that split.
    """
    if count < 1:
        raise InputError(f"{count} pictures: expected at least 1")
    if not source:
        return _held_out_scenes(0, count)
    folder = open_folder(resolve(source)).split(split)
    return as_labelled(replace(folder, records=folder.records[:count]), size)


def open_labelled_splits(
    source: str | Path, size: int, train: int, validation: int
) -> tuple[LabelledSet, LabelledSet]:
    """Open pictures to learn from and others to score on; see `open_set`.

    Args:
        source: "" for two runs of the embedded world's held-out pictures; else a folder.
        size: side, in pixels.
        train: so many to learn from at most.
        validation: so many to score on at most.
    """
    if source:
        return open_labelled(source, size, train, "train"), open_labelled(
            source, size, validation, "val"
        )
    return open_labelled("", size, train), _held_out_scenes(train, validation)


def _held_out_scenes(start: int, count: int) -> SceneSet:
    world = SceneSet(HELD_OUT_SEED, count, start, labelled=True)
    world.draw_all()
    return world


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class ResizedImages:
    """A set of pictures of one size.

    Attributes:
        source: what was asked for; "" for the embedded world's held-out pictures.
        size: side in pixels.
        count: how many pictures.
        read: from the numbers of pictures to pictures of that size.
    """

    source: str
    size: int
    count: int
    read: Callable[[list[int]], Tensor]

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> Images:
        """Return pictures in [0, 1] by their numbers."""
        return self.read(list(indices))

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Go through the set in order, `size` pictures at a time, as (indices, images)."""
        for first in range(0, self.count, size):
            indices = range(first, min(first + size, self.count))
            yield torch.tensor(indices), self.batch(indices)


def open_images(source: str, size: int, count: int) -> ResizedImages:
    """Open a set of pictures.

    Args:
        source: "" for the embedded world's held-out pictures; else a folder in the Broden format,
            the name of one that `broden_download.fetch` got, or any folder with images in it.
        size: side, in pixels, that every picture is brought to.
        count: the first so many at most.

    Raises:
        FileProblem: no folder, or none with images.
        InputError: no picture asked for.
    """
    if count < 1:
        raise InputError(f"{count} pictures: expected at least 1")
    if not source:
        world = SceneSet(HELD_OUT_SEED, count)
        world.draw_all()
        return ResizedImages(source, size, count, lambda i: images.resize(world.batch(i), size))
    folder = resolve(source)
    if (folder / "index.csv").is_file():
        opened = broden.open_folder(folder)
        return ResizedImages(source, size, min(count, len(opened)), _resized_reader(opened, size))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)[:count]
    if not files:
        raise FileError(f"no folder with images at {source}; check the path")
    return ResizedImages(
        source, size, len(files), lambda i: torch.stack([images.load(files[n], size) for n in i])
    )


def _resized_reader(opened: broden.Broden, size: int) -> Callable[[list[int]], Tensor]:
    return lambda i: torch.stack([images.resize(opened.read_image(n), size) for n in i])


@runtime_checkable
class ImageSet(Protocol):
    """A data set, such as `data.scenes.sets.PictureSet` or `data.pictures.Pictures`."""

    def __len__(self) -> int:
        """How many pictures."""

    def batch(self, indices: Sequence[int]) -> Images:
        """Return pictures in [0, 1] by their numbers."""

    def batches(self, size: int) -> Iterator[tuple[Tensor, Images]]:
        """Go through all in order, `size` at a time, as (numbers, pictures)."""


@dataclass(frozen=True)
class Subset:
    """Some pictures of a set, by their numbers; with label maps where the set has them."""

    whole: object
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, indices: Sequence[int]) -> Images:
        """Return pictures in [0, 1] by their numbers here."""
        return self.whole.batch([self.numbers[index] for index in indices])

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Go through all in order, `size` at a time, as (numbers, pictures)."""
        for part in torch.arange(len(self)).split(size):
            yield part, self.batch(part.tolist())

    @property
    def labels(self) -> Mapping[int, object]:
        """Every concept by its number in the label maps."""
        return self.whole.labels

    def label_maps(self, indices: Sequence[int]) -> Tensor:
        """Return what each pixel shows, see `data.labelled`."""
        return self.whole.label_maps([self.numbers[index] for index in indices])
