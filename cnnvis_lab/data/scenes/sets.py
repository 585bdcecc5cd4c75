"""Runs of pictures of the embedded world: arrays for training, records for the Broden folder."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from ...core.shapes import Float, Int, Tensor
from .objects import CLASS_NAMES
from .world import SIZE, Picture, draw

TRAIN_SEED, HELD_OUT_SEED = 1, 2


def _image(key: tuple[int, int]) -> np.ndarray:
    return draw(*key).image


@dataclass
class PictureSet:
    """Pictures `start` to `start + count` of one world, drawn when first asked for and then kept.

    Attributes:
        seed: the world; `TRAIN_SEED` for training, `HELD_OUT_SEED` for everything shown.
        count: how many pictures.
        start: index of the first.
    """

    seed: int
    count: int
    start: int = 0
    _images: np.ndarray = field(init=False, repr=False)
    _drawn: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._images = np.empty((self.count, SIZE, SIZE, 3), dtype=np.uint8)
        self._drawn = np.zeros(self.count, dtype=bool)

    def __len__(self) -> int:
        return self.count

    def picture(self, index: int) -> Picture:
        """Draw one picture with all its labels and truth; `index` counts within this set."""
        return draw(self.seed, self.start + index)

    def draw_all(
        self, workers: int = 2, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Draw every missing picture, in `workers` processes."""
        missing = np.flatnonzero(~self._drawn)
        keys = [(self.seed, self.start + int(index)) for index in missing]
        with ProcessPoolExecutor(workers) as pool:
            for done, (index, image) in enumerate(
                zip(missing, pool.map(_image, keys, chunksize=64), strict=True), 1
            ):
                self._images[index], self._drawn[index] = image, True
                if progress and (done % 500 == 0 or done == len(missing)):
                    progress(done, len(missing))

    def batch(self, indices: Sequence[int]) -> Float[Tensor, "n 3 h w"]:
        """Return pictures as float images in [0, 1]; indices count within this set."""
        wanted = np.asarray(indices, dtype=np.int64)
        for index in wanted[~self._drawn[wanted]]:
            self._images[index] = draw(self.seed, self.start + int(index)).image
            self._drawn[index] = True
        pixels = torch.from_numpy(self._images[wanted])
        return pixels.permute(0, 3, 1, 2).float().div_(255)

    def classes(self, indices: Sequence[int] | None = None) -> Int[Tensor, " n"]:
        """Return the class index of each picture (classes take turns, see `draw`)."""
        wanted = torch.arange(self.count) if indices is None else torch.as_tensor(indices)
        return (wanted + self.start) % len(CLASS_NAMES)

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "n 3 h w"]]]:
        """Go through the set in order, `size` pictures at a time, as (indices, images)."""
        for first in range(0, self.count, size):
            indices = torch.arange(first, min(first + size, self.count))
            yield indices, self.batch(indices.tolist())
