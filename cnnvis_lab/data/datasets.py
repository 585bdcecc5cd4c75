"""Open sets of images and of labeled images by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..core import Images, InputError, Int
from . import images
from .broden import Broden, open_folder, resolve
from .folders import read_dataset, read_folder, sample, without_damaged
from .labels import Label
from .protocols import ImageSet, LabelledSet, LabelMaps
from .scenes import HELD_OUT_SEED, SIZE, SceneSet

PHOTOGRAPHS = "photographs"  # the source of scikit-image's bundled images
MAX_CROPS = 256  # images and crops of them


@dataclass(frozen=True)
class LabelledFolder:
    """A Broden folder whose images are stretched to one size.

    Attributes:
        folder: the folder.
        size: height and width of the images.
        label_size: height and width of the label maps, resized with nearest-neighbor sampling.
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
        """Return images in [0, 1] by index."""
        stored = [self.folder.read_image(index) for index in indices]
        return torch.stack([images.resize(image, self.size) for image in stored])

    def label_maps(self, indices: Sequence[int]) -> Int[Tensor, "n layers y x"]:
        """Return label maps; images with fewer layers than others are padded with zeros."""
        by_image = [self._maps(index) for index in indices]
        maps = np.zeros((len(by_image), max(map(len, by_image)), *self.label_size), np.int32)
        for row, layers in zip(maps, by_image, strict=True):
            row[: len(layers)] = layers
        return torch.from_numpy(maps)

    def _maps(self, index: int) -> np.ndarray:
        by_category = self.folder.read_labels(index)
        if not by_category:
            return np.zeros((0, *self.label_size), np.int32)
        return images.resize_nearest(np.concatenate(list(by_category.values())), self.label_size)


def as_labelled(
    dataset: LabelledSet | ImageSet | Broden, size: images.Size | None = None
) -> LabelledSet:
    """Return a dataset as a `LabelledSet`.

    Args:
        dataset: an opened Broden folder, or a `LabelledSet`, which is returned unchanged.
        size: pixels of a square, or (height, width), to which a folder's images and label maps are
            stretched; None for the stored size, which must then be the same for all images.

    Raises:
        InputError: the dataset has no label maps, or images of several sizes and `size` is None.
    """
    if isinstance(dataset, LabelledSet):
        return dataset
    if not isinstance(dataset, Broden):
        what = f"{type(dataset).__name__} has no label maps"
        raise InputError(f"{what}; give a SceneSet, an opened Broden folder or a LabelledSet")
    sizes = {record.image_size for record in dataset.records}
    if size is None and len(sizes) > 1:
        raise InputError(
            f"{dataset.path.name} contains images of {len(sizes)} sizes; give size=PIXELS"
        )
    target = sizes.pop() if size is None else images.height_and_width(size)
    label_sizes = {record.label_size for record in dataset.records}
    half = (-(-target[0] // 2), -(-target[1] // 2))
    return LabelledFolder(dataset, target, label_sizes.pop() if len(label_sizes) == 1 else half)


def has_labels(source: str | Path) -> bool:
    """Return whether the images that `open_images` would open have label maps."""
    return not source or (resolve(source) / "index.csv").is_file()


def open_labelled(
    source: str | Path,
    size: images.Size,
    count: int,
    split: str = "all",
    *,
    skip_damaged: bool = False,
    lazy: bool = False,
    folder: str = "",
) -> LabelledSet:
    """Open images with label maps.

    Args:
        source: "" for held-out synthetic scenes; otherwise a folder in the Broden format, or the
            name of one that `broden.fetch` downloaded.
        size: pixels of a square, or (height, width), to which a folder's images are stretched.
        count: maximum number of images; a folder's are sampled by their names.
        split: split of a folder: "train", "val" or "all".
        skip_damaged: read every image of a folder once, and leave damaged ones out.
        lazy: draw synthetic scenes when they are first used, for a process that uses few of them.
        folder: where processes of one machine share the scenes that they draw; empty to share none.

    Raises:
        FileError: the folder is not in the Broden format, or all its images are damaged.
        InputError: `count` is not positive, or the split is empty.
    """
    _check_count(count)
    if not source:
        return _at_size(_held_out_scenes(0, count, lazy, folder), size)
    broden = _sampled(open_folder(resolve(source)).split(split), count)
    return as_labelled(without_damaged(broden) if skip_damaged else broden, size)


def open_labelled_splits(
    source: str | Path, size: images.Size, train: int, validation: int
) -> tuple[LabelledSet, LabelledSet]:
    """Open a training and a validation set; see `open_labelled`.

    Args:
        source: "" for two disjoint sets of held-out synthetic scenes; otherwise a folder.
        size: pixels of a square image, or (height, width).
        train: maximum number of training images.
        validation: maximum number of validation images.
    """
    if not source:
        second = _at_size(_held_out_scenes(train, validation), size)
        return open_labelled("", size, train), second
    splits = {"train": train, "val": validation}
    first, second = (open_labelled(source, size, count, name) for name, count in splits.items())
    return first, second


def check_files(dataset: LabelledSet, count: int) -> None:
    """Read the first images and label maps of a set, so that damaged files are found in time.

    Args:
        dataset: the set.
        count: number of images to read.

    Raises:
        FileError: one is damaged; the message names it.
    """
    for index in range(min(count, len(dataset))):
        dataset.batch([index])
        dataset.label_maps([index])


def _check_count(count: int) -> None:
    if count < 1:
        raise InputError(f"{count} images: expected at least 1")


def _held_out_scenes(start: int, count: int, lazy: bool = False, folder: str = "") -> SceneSet:
    scenes = SceneSet(HELD_OUT_SEED, count, start, labelled=True, folder=folder)
    if not lazy:
        scenes.draw_all()
    return scenes


def _sampled(folder: Broden, count: int) -> Broden:
    """Return a folder with at most `count` of its images, in the order of its index."""
    chosen = sorted(sample([record.image for record in folder.records], count))
    return replace(folder, records=tuple(folder.records[index] for index in chosen))


@dataclass(frozen=True)
class ResizedLabelled:
    """A labeled set whose images are stretched to another size.

    Attributes:
        dataset: the set.
        size: pixels of a square, or (height, width); label maps that are finer than half of it are
            resized with nearest-neighbor sampling.
    """

    dataset: LabelledSet
    size: images.Size

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def labels(self) -> Mapping[int, Label]:
        """Every concept by its number in the label maps."""
        return self.dataset.labels

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by index."""
        return images.resize(self.dataset.batch(indices), self.size)

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        return Subset(self, range(len(self))).batches(size)

    def label_maps(self, indices: Sequence[int]) -> LabelMaps:
        """Return the label number of each pixel; see `LabelledSet`."""
        maps = self.dataset.label_maps(indices)
        halves = (-(-pixels // 2) for pixels in images.height_and_width(self.size))
        height, width = map(min, halves, maps.shape[-2:])
        return images.resize_nearest(maps, (height, width))


def _at_size(scenes: SceneSet, size: images.Size) -> LabelledSet:
    return scenes if size == SIZE else ResizedLabelled(scenes, size)


@dataclass(frozen=True)
class ResizedImages:
    """A set of images of one size.

    Attributes:
        source: as given to `open_images`; "" for held-out synthetic scenes.
        size: pixels of a square image, or (height, width).
        count: number of images.
        read: function from indices to images of that size.
    """

    source: str
    size: images.Size
    count: int
    read: Callable[[list[int]], Tensor]

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by index."""
        return self.read(list(indices))

    def at_size(self, size: images.Size) -> "ResizedImages":
        """Return the same images, resized to another size in pixels."""
        if size == self.size:
            return self
        return replace(self, size=size, read=lambda i: images.resize(self.batch(i), size))

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        return Subset(self, range(self.count)).batches(size)


def open_images(
    source: str | Path | Dataset | Tensor,
    size: images.Size,
    count: int,
    *,
    skip_damaged: bool = False,
) -> ResizedImages:
    """Open a set of images.

    Args:
        source: "" for held-out synthetic scenes; "photographs" for those of scikit-image and
            crops of them, at most 256; a folder in the Broden format, the name of one that
            `broden.fetch` downloaded, or any folder with images in it; a torch dataset, or a
            tensor of images (n, channels, h, w).
        size: pixels of a square image, or (height, width).
        count: maximum number of images; those of a folder or dataset are sampled from all of it.
        skip_damaged: leave damaged files of a plain folder out.

    Raises:
        FileError: there is no such folder, there are no images in it, or one is damaged.
        InputError: `count` is not positive, or an item of the dataset is no image.
    """
    _check_count(count)
    if isinstance(source, Dataset | Tensor):
        read, found = read_dataset(source, size, count)
        return ResizedImages(type(source).__name__, size, found, read)
    if not source:
        scenes = SceneSet(HELD_OUT_SEED, count)
        scenes.draw_all()
        return ResizedImages("", size, count, lambda i: images.resize(scenes.batch(i), size))
    if source == PHOTOGRAPHS:
        crops = images.crops_of_photographs(size, min(count, MAX_CROPS))
        return ResizedImages(PHOTOGRAPHS, size, len(crops), crops.__getitem__)
    folder = resolve(source)
    if (folder / "index.csv").is_file():
        stored = _sampled(open_folder(folder), count)
        return ResizedImages(str(source), size, len(stored), as_labelled(stored, size).batch)
    read, found = read_folder(folder, size, count, skip_damaged)
    return ResizedImages(str(source), size, found, read)


@dataclass(frozen=True)
class Subset:
    """Some images of a set, with their label maps if the set has them.

    Attributes:
        dataset: the whole set.
        indices: indices of the images in the whole set.
    """

    dataset: ImageSet | LabelledSet
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by their index in this subset."""
        return self.dataset.batch([self.indices[index] for index in indices])

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        for indices in torch.arange(len(self)).split(size):
            yield indices, self.batch(indices.tolist())

    @property
    def labels(self) -> Mapping[int, Label]:
        """Every concept by its number in the label maps."""
        return self._labelled().labels

    def label_maps(self, indices: Sequence[int]) -> LabelMaps:
        """Return the label number of each pixel; see `LabelledSet`."""
        return self._labelled().label_maps([self.indices[index] for index in indices])

    def _labelled(self) -> LabelledSet:
        if not isinstance(self.dataset, LabelledSet):
            raise InputError(f"{type(self.dataset).__name__} has no label maps")
        return self.dataset
