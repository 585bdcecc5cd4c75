"""Image input and output, with all conventions of value range, channel order and normalization."""

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from ..core import FileError, Float, InputError, LabError, UInt8, files, not_found, prefixed

Size = int | tuple[int, int]
Grid = TypeVar("Grid", np.ndarray, Tensor)
MAX_RESIZED = 2**24  # pixels of an image that is enlarged to cover a size


class Normalization(NamedTuple):
    """Mean and standard deviation of images in [0, 1].

    Attributes:
        mean: mean per channel.
        std: standard deviation per channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


LUMINANCE = (0.299, 0.587, 0.114)  # of RGB channels, as Pillow converts to gray (ITU-R BT.601)
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's
# Means that Caffe networks subtract, in the order blue, green, red, in 0..255.
CAFFENET_BGR = (104.0, 117.0, 123.0)  # synthesizing/act_max.py
# The photographs and micrographs that scikit-image ships, which need no download.
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "cell", "chelsea", "clock", "coffee", "coins", "grass",
    "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "microaneurysms", "moon",
    "page", "retina", "rocket", "text",
)  # fmt: skip


def load(path: str | Path, size: Size | None = None) -> Float[Tensor, "3 h w"]:
    """Read any image file as RGB in [0, 1].

    Gray, palette, transparent (on a white background), 16-bit and EXIF-rotated files are accepted.

    Args:
        path: the file.
        size: size of a square, or (height, width), in pixels: the image is resized and
            center-cropped to it.

    Raises:
        FileError: the file is missing, truncated, far too large, far too narrow, or no image.
        InputError: its pixels are floats of unknown range.
    """
    with open_image(path) as stored:
        if size is not None:
            with prefixed(Path(path).name, FileError):
                _covering(stored.size, size)
        image = from_pil(_upright(stored))
    files.record_input(path)
    return image if size is None else resize_and_crop(image, size)


def check_resizable(path: str | Path, size: Size) -> None:
    """Decode an image file and check that it can be loaded in a size.

    Args:
        path: the file.
        size: as for `load`.

    Raises:
        FileError: `load` would raise it.
    """
    with open_image(path) as stored, prefixed(Path(path).name, FileError):
        _covering(stored.size, size)
        _check_range(stored)


def read(path: str | Path) -> Float[Tensor, "3 h w"]:
    """Read an image file like `load`, but do not record it as an input of the run."""
    with open_image(path) as stored:
        return from_pil(_upright(stored))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the parser raises almost any error on damaged EXIF data
        return image


@cache
def readable_formats() -> tuple[str, ...]:
    """Return Pillow's names of the image formats that it reads by itself.

    Others are left out: EPS files are programs, which Ghostscript would run.
    """
    Image.init()
    return tuple(
        name
        for name, (opener, _) in Image.OPEN.items()
        if name not in ("EPS", "MPEG")
        and not (isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile))
    )


@contextmanager
def open_image(path: str | Path) -> Generator[Image.Image, None, None]:
    """Open an image file as it is stored; any failure to decode it becomes a FileError.

    Args:
        path: the file.

    Yields:
        The decoded PIL image, of any mode.

    Raises:
        FileError: the file is missing, truncated, far too large, or no image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no image file at {path}; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata, which the pixels do not need
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=readable_formats()) as image:
                image.load()
                yield image
    except LabError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS
        raise FileError(f"{path.name} has over {limit} pixels; make it smaller first") from None
    except UnidentifiedImageError:
        raise FileError(
            f"{path.name} is not an image of a known format; expected PNG, JPEG, ..."
        ) from None
    except Exception as error:  # the decoders raise almost any error on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path.name} cannot be read as an image ({reason})") from None


def photograph(name: str, size: Size | None = None) -> Float[Tensor, "3 h w"]:
    """Return one of scikit-image's bundled images (`PHOTOGRAPHS`) as RGB in [0, 1].

    Args:
        name: its name in `skimage.data`.
        size: size of a square, or (height, width), in pixels: the image is resized and
            center-cropped to it.

    Raises:
        NameNotFound: no bundled image has that name.
    """
    from skimage import data as photographs  # slow to import

    if name not in PHOTOGRAPHS:
        raise not_found("photograph", name, PHOTOGRAPHS)
    image = from_pil(Image.fromarray(getattr(photographs, name)()))
    return image if size is None else resize_and_crop(image, size)


def from_pil(image: Image.Image) -> Float[Tensor, "3 h w"]:
    """Convert a PIL image of any mode with a known range to RGB in [0, 1].

    Raises:
        InputError: the pixels are floats of unknown range.
    """
    if image.mode.startswith("I"):  # 16 bit, for which PIL has several modes
        gray = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535).clamp(0, 1)
        return gray.expand(3, -1, -1).contiguous()
    _check_range(image)
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return from_uint8(np.asarray(image.convert("RGB")))


def _check_range(image: Image.Image) -> None:
    if image.mode == "F":
        raise InputError("a float image has no known value range; save it with 8 or 16 bit first")


def from_uint8(pixels: UInt8[np.ndarray, "... h w 3"]) -> Float[Tensor, "... 3 h w"]:
    """Convert 8-bit pixels, channels last, to floats in [0, 1], channels first."""
    return torch.from_numpy(np.array(pixels)).movedim(-1, -3).contiguous().float() / 255


def to_uint8(images: Float[Tensor, "... c h w"]) -> UInt8[np.ndarray, "... h w c"]:
    """Convert images in [0, 1] (other values are clipped) to 8-bit pixels, channels last."""
    rounded = (images.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return rounded.movedim(-3, -1).contiguous().numpy()


def to_pil(image: Float[Tensor, "c h w"]) -> Image.Image:
    """Convert one image in [0, 1], of one or three channels, to a PIL image."""
    return Image.fromarray(to_uint8(to_channels(image, 3)))


def to_channels(images: Float[Tensor, "... c h w"], channels: int) -> Float[Tensor, "... d h w"]:
    """Return the gray values of RGB images, or gray images in all three channels.

    Args:
        images: of one channel, three, or already as many as wanted.
        channels: of the result.

    Raises:
        InputError: images of another number of channels.
    """
    given = images.shape[-3]
    if given == channels:
        return images
    if (given, channels) == (3, 1):
        weights = images.new_tensor(LUMINANCE).view(3, 1, 1)
        return (images * weights).sum(-3, keepdim=True)
    if (given, channels) == (1, 3):
        return images.expand(*images.shape[:-3], 3, -1, -1)
    raise InputError(f"images of {given} channels: the network takes {channels}; give such images")


def crops_of_photographs(size: Size, count: int) -> Float[Tensor, "n 3 h w"]:
    """Return scikit-image's bundled images and, if more are asked for, square crops of them.

    The crops, of a half to the whole of an image, are the same in every call.

    Args:
        size: size of a square, or (height, width), in pixels.
        count: number of images.
    """
    generator = torch.Generator().manual_seed(0)
    whole = [photograph(name) for name in PHOTOGRAPHS[:count]]
    chosen = [resize_and_crop(image, size) for image in whole]
    while len(chosen) < count:
        image = whole[len(chosen) % len(whole)]
        fraction, *place = torch.rand(3, generator=generator).tolist()
        length = round(min(image.shape[-2:]) * (1 + fraction) / 2)
        top, left = (
            round(at * (end - length)) for at, end in zip(place, image.shape[-2:], strict=True)
        )
        chosen.append(resize_and_crop(image[:, top : top + length, left : left + length], size))
    return torch.stack(chosen)


def height_and_width(size: Size) -> tuple[int, int]:
    """Return height and width, in pixels, of a size; of a square if it is one number.

    Raises:
        InputError: there is no pixel.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise InputError(f"size {size}: expected at least one pixel in each direction")
    return height, width


def resize(image: Float[Tensor, "... c h w"], size: Size) -> Float[Tensor, "... c y x"]:
    """Stretch images to exactly `size`, antialiased; the aspect ratio may change.

    Args:
        image: one image or a batch, in [0, 1].
        size: size of a square, or (height, width), in pixels.
    """
    height, width = height_and_width(size)
    if image.shape[-2:] == (height, width):
        return image
    batch = image.reshape(-1, *image.shape[-3:])
    resized = functional.interpolate(batch, size=(height, width), mode="bilinear", antialias=True)
    return resized.clamp(0, 1).reshape(*image.shape[:-2], height, width)


def resize_nearest(values: Grid, size: Size) -> Grid:
    """Stretch label maps or masks (..., h, w) to exactly `size`, by their nearest pixels.

    Args:
        values: integers or flags.
        size: height and width, or the size of a square.
    """
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(height_and_width(size), values.shape[-2:], strict=True)
    )
    return values[..., rows[:, None], columns]


def _covering(stored: tuple[int, int], size: Size) -> tuple[int, int]:
    """Return the smallest height and width of an image (width, height) that cover a size."""
    height, width = height_and_width(size)
    factor = max(height / stored[1], width / stored[0])
    covering = max(round(stored[1] * factor), height), max(round(stored[0] * factor), width)
    if covering[0] * covering[1] > MAX_RESIZED:
        raise InputError(
            f"an image of {stored[0]}x{stored[1]} pixels is too narrow: to cover {width}x{height}, "
            f"it would become {covering[1]}x{covering[0]}; crop it first"
        )
    return covering


def resize_and_crop(image: Float[Tensor, "... 3 h w"], size: Size) -> Float[Tensor, "... 3 y x"]:
    """Resize images, keeping their aspect ratio, to just cover `size`, and crop the center.

    Args:
        image: one image or a batch, in [0, 1].
        size: size of a square, or (height, width), in pixels.

    Raises:
        InputError: the images are so narrow that they would become too large.
    """
    height, width = height_and_width(size)
    covering = _covering((image.shape[-1], image.shape[-2]), size)
    image = resize(image, covering)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    return image[..., top : top + height, left : left + width]


def tile(
    images: Tensor | Sequence[Tensor], columns: int, gap: int = 2, background: float = 1.0
) -> Float[Tensor, "3 y x"]:
    """Arrange images of the same size in a grid, row by row.

    Args:
        images: in [0, 1].
        columns: images per row.
        gap: distance between images, in pixels.
        background: gray value of the gaps, in [0, 1].

    Raises:
        InputError: there are no images or columns, or the images differ in size.
    """
    tiles = list(images)
    if columns < 1 or not tiles:
        raise InputError(f"{len(tiles)} images in {columns} columns: expected at least one each")
    sizes = sorted({tuple(image.shape[-2:]) for image in tiles})
    if len(sizes) > 1:
        raise InputError(f"images of sizes {sizes[0]} and {sizes[-1]}: resize them to one size")
    height, width = sizes[0]
    rows = -(-len(tiles) // columns)
    shape = (3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    sheet = tiles[0].new_full(shape, background)
    for index, image in enumerate(tiles):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[:, y : y + height, x : x + width] = image
    return sheet
