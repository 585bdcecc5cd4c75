"""Windows of the image: the pixels that the signals of a layer can reach.

The signal of one position stays inside the receptive field of this position. A backward pass is
therefore computed on a window of the image, of one size for all signals and at a place of its own
for each. The places are multiples of the layer's stride, so that the maps of all layers before it
are cut at whole positions. A window never extends beyond the image: where it ends at the image's
border, zero padding ends the signals, as in the whole image.
"""

from contextlib import suppress
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import InputError
from ..receptive_field import receptive_fields
from ..types import Int
from . import smooth_rules

Pair = tuple[int, int]
# Operations that treat all positions alike; other operations are reversed on whole images only.
LOCAL = {
    "conv2d", "relu", "max_pool2d", "local_response_norm", *smooth_rules.ACTIVATIONS,
    "add", "radd", "iadd", "sub", "rsub", "isub", "mul", "rmul", "imul", "div", "truediv",
    "true_divide", "idiv", "neg", "cat", "concat", "concatenate", "batch_norm", "dropout",
    "dropout2d", "feature_dropout", "avg_pool2d", "clone", "contiguous",
}  # fmt: skip


class Window(NamedTuple):
    """Windows of one size, as (vertical, horizontal) pairs.

    Attributes:
        image: height and width of the image, in pixels.
        size: height and width of a window, in pixels.
        last: the last place; the first is 0, at the image's border.
        shift: place minus position in the layer, away from the border.
    """

    image: Pair
    size: Pair
    last: Pair = (0, 0)
    shift: Pair = (0, 0)

    @property
    def is_whole(self) -> bool:
        """Whether the window is the whole image."""
        return self.last == (0, 0)

    def places(self, positions: Int[Tensor, "n 2"]) -> Int[Tensor, "n 2"]:
        """Return the places of the windows around some positions of the layer."""
        moved = positions + positions.new_tensor(self.shift)
        return moved.clamp(min=0).minimum(positions.new_tensor(self.last))

    def starts(self, whole: Pair, part: Pair, places: Int[Tensor, "n 2"]) -> Int[Tensor, "n 2"]:
        """Return where the windows begin in maps.

        Args:
            whole: height and width of the maps of the whole image.
            part: height and width of the maps of a window.
            places: of the windows.
        """
        steps = [(n - m) // max(last, 1) for n, m, last in zip(whole, part, self.last, strict=True)]
        return places * places.new_tensor(steps)

    def cut(
        self, maps: Tensor, part: Pair, index: Int[Tensor, " n"], places: Int[Tensor, "n 2"]
    ) -> Tensor:
        """Return the windows of maps.

        Args:
            maps: (images, channels, h, w) of whole images.
            part: height and width of the maps of a window.
            index: the image of each window.
            places: of the windows.
        """
        whole = (maps.shape[2], maps.shape[3])
        rows, columns = self.starts(whole, part, places).T
        tiles = maps.unfold(2, part[0], 1).unfold(3, part[1], 1)
        return tiles[index, :, rows, columns]

    def paste(self, pixels: Tensor, places: Int[Tensor, "n 2"]) -> Tensor:
        """Return zero images with pixels in their windows.

        Args:
            pixels: (n, c, h, w) of the windows.
            places: of the windows.
        """
        images = pixels.new_zeros(*pixels.shape[:2], *self.image)
        height, width = self.size
        starts = self.starts(self.image, self.size, places).tolist()
        for image, part, (y, x) in zip(images, pixels, starts, strict=True):
            image[:, y : y + height, x : x + width] = part
        return images


def find_window(model: nn.Module, layer: str, image: Pair) -> Window:
    """Return the window of a layer's positions: the whole image where no smaller one is known.

    Args:
        model: any network.
        layer: dotted name or alias.
        image: height and width of the image, in pixels.
    """
    with suppress(InputError):
        field = receptive_fields(model, [layer], image)[layer]
        axes = map(_axis, image, field.size, field.stride, field.offset)
        return Window(image, *((y, x) for y, x in zip(*axes, strict=True)))
    return Window(image, image)


def _axis(length: int, size: int, stride: int, offset: int) -> tuple[int, int, int]:
    """Return size, last place and shift of a window along one axis."""
    if stride == 0:
        return length, 0, 0
    last = max(0, (length - size - offset % stride) // stride)
    return length - last * stride, last, offset // stride
