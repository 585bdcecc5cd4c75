"""Any set of pictures by one word: the embedded world, a Broden folder, or a folder of images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from ..core.errors import FileProblem, InputError
from ..core.shapes import Images, Int, Tensor
from . import broden, images
from .broden_download import located
from .scenes.sets import HELD_OUT_SEED, PictureSet

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Pictures:
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


def open_set(source: str, size: int, count: int) -> Pictures:
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
        world = PictureSet(HELD_OUT_SEED, count)
        world.draw_all()
        return Pictures(source, size, count, lambda i: images.resize(world.batch(i), size))
    folder = located(source)
    if (folder / "index.csv").is_file():
        opened = broden.open_folder(folder)
        return Pictures(source, size, min(count, len(opened)), _stretched(opened, size))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)[:count]
    if not files:
        raise FileProblem(f"no folder with images at {source}; check the path")
    return Pictures(
        source, size, len(files), lambda i: torch.stack([images.load(files[n], size) for n in i])
    )


def _stretched(opened: broden.Broden, size: int) -> Callable[[list[int]], Tensor]:
    return lambda i: torch.stack([images.resize(opened.read_image(n), size) for n in i])
