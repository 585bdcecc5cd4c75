"""Images from plain folders and from torch's own datasets."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..core import FileError, InputError, files
from . import images
from .broden import Broden

Reader = Callable[[list[int]], Tensor]


@cache
def readable_suffixes() -> frozenset[str]:
    """Return the file name endings of all image formats that Pillow reads, such as ".png"."""
    readable = images.readable_formats()
    return frozenset(s for s, name in Image.registered_extensions().items() if name in readable)


def image_paths(folder: Path) -> list[Path]:
    """Return the image files in a folder and below, by name; hidden files and folders are left out.

    The folder counts as read, with all its images: with other names, others would be sampled.

    Raises:
        FileError: there are none.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in readable_suffixes()
        and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise FileError(f"no folder with images at {folder}; check the path")
    files.record_input(folder)
    return paths


def sample(names: Sequence[str], count: int) -> list[int]:
    """Return the indices of at most `count` names in a shuffled order that is always the same.

    The first images of a folder with a folder per class would all be of one class.
    """
    keys = [hashlib.sha256(name.encode(errors="surrogateescape")).digest() for name in names]
    return sorted(range(len(names)), key=keys.__getitem__)[:count]


def read_folder(
    folder: Path, size: images.Size, count: int, skip_damaged: bool
) -> tuple[Reader, int]:
    """Open the images in a folder; every one is decoded once to find damaged files.

    Args:
        folder: the folder; images in folders inside it count, too.
        size: pixels of a square image, or (height, width).
        count: maximum number of images, which are sampled from all.
        skip_damaged: leave damaged files out.

    Returns:
        A function from indices to images, and the number of images.

    Raises:
        FileError: there are no images, or a file is damaged.
    """
    paths = image_paths(folder)
    order = sample([path.relative_to(folder).as_posix() for path in paths], count)
    with ThreadPoolExecutor() as pool:
        chosen = [paths[index] for index in order]
        problems = list(pool.map(lambda path: _problem(path, size), chosen))
    whole = [paths[n] for n, problem in zip(order, problems, strict=True) if not problem]
    if len(whole) < len(order) and not (skip_damaged and whole):
        raise FileError(
            f"{len(order) - len(whole)} of {len(order)} images in {folder} cannot be read: "
            f"{next(filter(None, problems))}; mend or remove them, or skip damaged ones "
            "(--skip-damaged, or skip_damaged=True)"
        )

    def read(indices: list[int]) -> Tensor:
        return torch.stack([images.load(whole[index], size) for index in indices])

    return read, len(whole)


def _problem(path: Path, size: images.Size) -> str:
    try:
        images.check_resizable(path, size)
        return ""
    except FileError as error:
        return f"{path.parent.name}/{error}"


def read_dataset(dataset: Dataset | Tensor, size: images.Size, count: int) -> tuple[Reader, int]:
    """Open a torch dataset, whose items are images or begin with one, or a tensor of images.

    Args:
        dataset: images as PIL images or as tensors (channels, h, w), with 1 or 3 channels, of
            bytes or of floats in [0, 1].
        size: pixels of a square image, or (height, width).
        count: maximum number of images, which are sampled from all.

    Returns:
        A function from indices to images, and the number of images.

    Raises:
        InputError: the first item is no such image.
    """
    many = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    order = sample([str(index) for index in range(many)], count)

    def read(indices: list[int]) -> Tensor:
        items = [_as_rgb(dataset[order[index]]) for index in indices]
        return torch.stack([images.resize_and_crop(item, size) for item in items])

    if order:
        read([0])
    return read, len(order)


def _as_rgb(item: object) -> Tensor:
    image = item[0] if isinstance(item, tuple | list) else item
    if isinstance(image, Image.Image):
        return images.from_pil(image)
    if not isinstance(image, Tensor) or image.ndim not in (2, 3):
        what = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"an item of the dataset is {what}; expected images (channels, h, w)")
    image = image if image.ndim == 3 else image[None]
    image = image / 255 if image.dtype == torch.uint8 else image.float()
    if len(image) not in (1, 3) or image.min() < 0 or image.max() > 1:
        low, high = float(image.min()), float(image.max())
        raise InputError(
            f"an image of the dataset has {len(image)} channels and values from {low:.3g} to "
            f"{high:.3g}; expected 1 or 3 channels, and bytes or floats in [0, 1]: leave "
            "normalization to the network"
        )
    return image.expand(3, -1, -1)


def without_damaged(folder: Broden) -> Broden:
    """Return a folder without the images whose pixels or labels cannot be read."""

    def is_whole(index: int) -> bool:
        try:
            folder.read_image(index)
            folder.read_labels(index)
        except FileError:
            return False
        return True

    with ThreadPoolExecutor() as pool:
        whole = list(pool.map(is_whole, range(len(folder))))
    if not any(whole):
        raise FileError(f"none of {len(folder)} images of {folder.path} can be read; mend them")
    return replace(folder, records=tuple(itertools.compress(folder.records, whole)))
