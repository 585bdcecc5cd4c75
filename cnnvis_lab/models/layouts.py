"""Layouts of decoders and generators for any layer of any network.

They follow the published ones: three convolutions, or fully connected layers for vectors, then
up-convolutions, each of which doubles the size and halves the number of maps. Where the published
layouts give images somewhat smaller than the input, maps are first resized to a grid from which
doubling gives at least the input size; the images are cropped to it.
"""

import math
from collections.abc import Callable

from ..core import InputError, choose
from ..data.images import height_and_width
from .generators import SLOPE, GeneratorSpec
from .model import Model

KINDS = ("decoder", "generator")
FIRST = 4  # rows and columns of the first maps after fully connected layers
LEAST_ROWS = 3  # smaller maps are read by fully connected layers
MOST_DOUBLINGS = 3  # of the number of maps


def derive(kind: str, model: Model, layer: str, width: int = 32) -> GeneratorSpec:
    """Return a layout for the codes of a layer.

    Args:
        kind: "decoder" or "generator".
        model: the network.
        layer: dotted name or alias.
        width: maps of the last hidden up-convolution; twice as many in the one before, and so on up
            to eight times as many. The published layouts have 32.

    Raises:
        NameNotFound: no such kind or layer.
        InputError: the layer gives neither maps nor a vector, or the network does not take RGB or
            gray images.

    Source: Dosovitskiy and Brox 2016, both papers.
    """
    choose("kind of training", kind, dict.fromkeys(KINDS))
    code = model.layer_shapes([layer])[layer]
    if len(code) not in (1, 3):
        raise InputError(
            f"{layer} of {model.card.name} gives {'x'.join(map(str, code))} numbers an image; "
            "expected maps (units, rows, columns) or a vector: choose another layer"
        )
    if model.channels not in (1, 3):
        raise InputError(
            f"{model.card.name} takes images of {model.channels} channels; decoders and generators "
            "draw RGB images, for networks of 1 or 3 channels"
        )
    size = height_and_width(model.card.input_size)
    is_small = len(code) == 1 or min(code[1:]) < LEAST_ROWS
    doublings = _doublings(min(size), FIRST, math.floor)
    if not is_small:
        doublings = min(doublings, _doublings(size[0], code[1], round))
    first = width * 2 ** min(max(doublings - 2, 0), MOST_DOUBLINGS)
    start = (FIRST, FIRST) if is_small else tuple(code[1:])
    grid = tuple(-(-pixels // 2**doublings) for pixels in size)
    return GeneratorSpec(
        model.card.name,
        layer,
        tuple(code),
        fully_connected=(16 * width, 16 * width, FIRST**2 * first) if is_small else (),
        convs=_convolutions(kind, first, is_small, doublings),
        ups=_up_convolutions(kind, width, doublings),
        up_kernel=5 if kind == "decoder" else 4,
        slope=0.2 if kind == "decoder" else SLOPE,
        grid=None if grid == start else grid,
        output=size,
    )


def _doublings(pixels: int, start: int, rounded: Callable[[float], int]) -> int:
    """Return how often `start` rows are doubled to give `pixels` rows."""
    return max(0, rounded(math.log2(pixels / start)))


def _convolutions(
    kind: str, first: int, is_small: bool, doublings: int
) -> tuple[tuple[int, int, int], ...]:
    if is_small and doublings:
        return ()
    channels = first if kind == "decoder" else 2 * first
    if not doublings:  # the last one draws the image
        return ((channels, 3, 1), (channels, 3, 1), (3, 3, 1))
    return ((channels, 3, 1),) * 3


def _up_convolutions(kind: str, width: int, doublings: int) -> tuple[tuple[int, int], ...]:
    """Return the channels of the up-convolutions and of the 3x3 layers behind them.

    As in the published generators, the last three have no such layer.
    """
    if not doublings:
        return ()
    exponents = range(doublings - 2, -1, -1)
    channels = [width * 2 ** min(exponent, MOST_DOUBLINGS) for exponent in exponents]
    after = channels[:-2] if kind == "generator" else []
    return (*zip(channels, [*after, *[0] * len(channels)], strict=False), (3, 0))
