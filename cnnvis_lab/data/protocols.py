"""What methods expect of a set of images, and of a set of labeled images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..core import Images, Int, UInt8
from .labels import Label

LabelMaps = Int[Tensor, "n layers y x"] | UInt8[Tensor, "n layers y x"]


@runtime_checkable
class ImageSet(Protocol):
    """A set of images of one size, such as `scenes.SceneSet` or the result of `open_images`."""

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by index."""
        ...

    def batches(self, size: int) -> Iterator[tuple[Int[Tensor, " n"], Images]]:
        """Yield all images in order, `size` at a time, as (indices, images)."""
        ...


@runtime_checkable
class LabelledSet(Protocol):
    """A set of images of one size with label maps on the same or a coarser grid.

    `scenes.SceneSet` is one; `as_labelled` makes one of a Broden folder.
    """

    @property
    def labels(self) -> Mapping[int, Label]:
        """Every concept by its number in the label maps; 0 is unlabeled."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by index."""
        ...

    def label_maps(self, indices: Sequence[int]) -> LabelMaps:
        """Return the label number of each pixel, in any number of layers.

        A pixel that shows a concept in several layers counts once. A constant layer is a label of
        the whole image.
        """
        ...
