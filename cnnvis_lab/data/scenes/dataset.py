"""The synthetic scenes as a labeled dataset, drawn on first access and cached."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import current_process
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ...core import Float, InputError, Int, UInt8, tasks
from ..labels import CATEGORIES, Label, label_offsets
from .objects import CLASS_NAMES
from .surfaces import load_photographs
from .world import LABELS, SIZE, SceneImage, draw

# Factors of an image besides its class, with the number of values of each.
ATTRIBUTES = {
    "scene": len(LABELS["scene"]),
    "background color": len(LABELS["color"]) + 1,
    "object color": len(LABELS["color"]) + 1,
    "object texture": len(LABELS["texture"]) + 1,
    "object material": len(LABELS["material"]) + 1,
}
TRAIN_SEED, HELD_OUT_SEED = 1, 2
MAX_COUNT = 200_000  # scenes of a set, which is in memory: 10 GB
_LABEL_STEP = 2  # label maps keep every second pixel, as Broden's do
_MAPS_SHAPE = (len(CATEGORIES), SIZE // _LABEL_STEP, SIZE // _LABEL_STEP)
_NO_MAPS = np.empty((0, *_MAPS_SHAPE[1:]), dtype=np.uint8)


def _render_item(key: tuple[int, int, bool]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Draw image (seed, index): pixels, label maps (empty unless requested) and attributes."""
    seed, index, labelled = key
    scene = draw(seed, index)
    return scene.image, _label_maps(scene) if labelled else _NO_MAPS, _attributes(scene)


def _render_items(
    keys: Sequence[tuple[int, int, bool]], workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, ...]]]:
    """Render in several processes; in this one if it may not start others, as a Dask worker."""
    if current_process().daemon:
        yield from map(_render_item, keys)
        return
    load_photographs()
    with ProcessPoolExecutor(workers, initializer=tasks.initialize_worker) as pool:
        with _without_main():  # the workers start
            items = pool.map(_render_item, keys, chunksize=64)
        yield from items


def _label_maps(scene: SceneImage) -> np.ndarray:
    """Return an image's label maps; numbers run through all categories."""
    offsets, maps = label_offsets(LABELS), np.zeros(_MAPS_SHAPE, dtype=np.uint8)
    for layer, category in zip(maps, CATEGORIES, strict=True):
        labels = scene.labels.get(category, np.full((SIZE, SIZE), scene.scene))
        layer[:] = np.where(labels, labels + offsets[category], 0)[::_LABEL_STEP, ::_LABEL_STEP]
    return maps


def _attributes(scene: SceneImage) -> tuple[int, ...]:
    surface = scene.objects[scene.main].surface
    background = LABELS["color"].index(scene.background_color) + 1
    labels = (surface.color_label, surface.texture_label, surface.material_label)
    return (scene.scene - 1, background, *labels)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main module, which processes that are not forked would import and thereby run."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@dataclass
class SceneSet:
    """Images `start` to `start + count` of one seed, drawn on first access and then cached.

    Attributes:
        seed: seed of the scenes: `TRAIN_SEED` for training, `HELD_OUT_SEED` for all other uses.
        count: number of images.
        start: index of the first image.
        labelled: also cache label maps, which needs half as much memory again; otherwise
            `label_maps` draws the scenes again.
        folder: where processes of one machine share the cache with all sets of this seed; empty for
            the one that the environment's `CNNVIS_SCENES` names. Without it, or if it is gone, the
            cache is of this set alone.
    """

    seed: int
    count: int
    start: int = 0
    labelled: bool = False
    folder: str = ""
    _images: np.ndarray = field(init=False, repr=False)
    _maps: np.ndarray = field(init=False, repr=False)
    _attributes: np.ndarray = field(init=False, repr=False)
    _has_image: np.ndarray = field(init=False, repr=False)
    _has_maps: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.count > MAX_COUNT:
            raise InputError(f"{self.count:,} synthetic scenes: expected at most {MAX_COUNT:,}")
        labelled = self.count if self.labelled else 0
        self._images = self._cache("images", (self.count, SIZE, SIZE, 3), np.uint8)
        self._maps = self._cache("maps", (labelled, *_MAPS_SHAPE), np.uint8)
        self._attributes = self._cache("attributes", (self.count, len(ATTRIBUTES)), np.int64)
        self._has_image = self._cache("drawn", (self.count,), np.bool_)
        self._has_maps = self._cache("labelled", (labelled,), np.bool_)

    def _cache(self, name: str, shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
        """Return an array of zeros, or what other processes and sets have stored in theirs."""
        folder = self.folder or os.environ.get("CNNVIS_SCENES")
        if 0 in shape or not folder or not Path(folder).is_dir():
            return np.zeros(shape, kind)
        from filelock import FileLock  # which warns where files cannot be locked

        file = Path(folder) / f"{name}-{self.seed}"
        item = math.prod(shape[1:]) * np.dtype(kind).itemsize
        size = (self.start + self.count) * item
        with FileLock(f"{file}.lock"), file.open("ab") as stream:
            if stream.tell() < size:
                stream.truncate(size)
        return np.memmap(file, kind, "r+", self.start * item, shape)

    @property
    def _is_drawn(self) -> np.ndarray:
        return self._has_maps if self.labelled else self._has_image

    def __len__(self) -> int:
        return self.count

    def draw(self, index: int) -> SceneImage:
        """Draw one image with its labels and ground truth; `index` counts within this set."""
        return draw(self.seed, self.start + index)

    def draw_all(
        self, workers: int = 2, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Draw every missing image.

        Args:
            workers: number of processes.
            on_progress: called with the number of images drawn and the number to be drawn.
        """
        missing = np.flatnonzero(~self._is_drawn)
        if not len(missing):
            return
        keys = [self._key(int(index), self.labelled) for index in missing]
        items = _render_items(keys, workers)
        for done, (index, item) in enumerate(zip(missing, items, strict=True), 1):
            self._store(int(index), *item)
            if on_progress and (done % 500 == 0 or done == len(missing)):
                on_progress(done, len(missing))

    def _key(self, index: int, labelled: bool) -> tuple[int, int, bool]:
        return self.seed, self.start + index, labelled

    def _store(self, index: int, image: np.ndarray, maps: np.ndarray, attributes: tuple) -> None:
        self._images[index], self._attributes[index] = image, attributes
        if self.labelled:
            self._maps[index] = maps
            self._has_maps[index] = True  # after them: other processes read what is there
        self._has_image[index] = True

    def _draw_missing(self, indices: Sequence[int]) -> np.ndarray:
        """Draw those of the images that are not cached; return the indices."""
        wanted = np.asarray(indices, dtype=np.int64)
        for index in wanted[~self._is_drawn[wanted]]:
            self._store(int(index), *_render_item(self._key(int(index), self.labelled)))
        return wanted

    def batch(self, indices: Sequence[int]) -> Float[Tensor, "n 3 h w"]:
        """Return images in [0, 1]; indices count within this set."""
        wanted = self._draw_missing(indices)
        pixels = torch.from_numpy(self._images[wanted])
        return pixels.permute(0, 3, 1, 2).float().div_(255)

    @property
    def labels(self) -> dict[int, Label]:
        """Every concept by its number in the label maps; frequencies are not counted (0)."""
        return {
            number: Label(number, name, category, 0)
            for category, offset in label_offsets(LABELS).items()
            for number, name in enumerate(LABELS[category], offset + 1)
        }

    def label_maps(self, indices: Sequence[int]) -> UInt8[Tensor, "n layers h w"]:
        """Return labels at every second pixel: one layer per category, 0 for unlabeled."""
        if not self.labelled:
            maps = [_render_item(self._key(index, True))[1] for index in indices]
            return torch.from_numpy(np.stack(maps))
        return torch.from_numpy(self._maps[self._draw_missing(indices)])

    def attributes(self, indices: Sequence[int]) -> Int[Tensor, "n attributes"]:
        """Return the value of each of `ATTRIBUTES`: scene from 0, the others from 1, 0 for none."""
        return torch.from_numpy(self._attributes[self._draw_missing(indices)])

    def classes(self, indices: Sequence[int] | None = None) -> Int[Tensor, " n"]:
        """Return the class index of each image (classes alternate, see `draw`)."""
        wanted = torch.arange(self.count) if indices is None else torch.as_tensor(indices)
        return (wanted + self.start) % len(CLASS_NAMES)

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "n 3 h w"]]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        for first in range(0, self.count, size):
            indices = torch.arange(first, min(first + size, self.count))
            yield indices, self.batch(indices.tolist())
