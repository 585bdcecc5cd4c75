"""Pictures in and out: the only place that knows value ranges, channel order and means."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from skimage import data as photographs_of
from torch import Tensor
from torch.nn import functional

from ..core.errors import FileProblem, InputError, not_found
from ..core.files import note_input
from ..core.shapes import Float, Images, UInt8

Size = int | tuple[int, int]


class Normalization(NamedTuple):
    """Mean and deviation per RGB channel of images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's
# Means that Caffe networks subtract: blue, green, red, on the scale 0 to 255.
CAFFENET_BGR = (104.0, 117.0, 123.0)  # synthesizing/act_max.py
BRODEN_BGR = (109.5388, 118.6897, 124.6901)  # NetDissect/script/rundissect.sh

# Those of scikit-image's photographs that lie in its wheel: no download.
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cat", "chelsea", "coffee", "coins", "grass", "gravel",
    "horse", "hubble_deep_field", "moon", "page", "rocket", "text",
)  # fmt: skip


def load(path: str | Path, size: Size | None = None) -> Float[Tensor, "3 h w"]:
    """Read any image file as RGB in [0, 1].

    Gray, palette, transparent (laid on white), 16-bit and EXIF-rotated files are understood.

    Args:
        path: the file.
        size: side, or (height, width), in pixels: resized and centre-cropped to it.

    Raises:
        FileProblem: missing, truncated, far too large, or no image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileProblem(f"no image file at {path}; check the path")
    try:
        with Image.open(path) as opened:
            image = from_pil(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FileProblem(f"{path.name} is no image of a usable kind and size") from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "damaged"
        raise FileProblem(f"{path.name} cannot be read as an image ({reason})") from None
    note_input(path)
    return image if size is None else resize_and_crop(image, size)


def photograph(name: str, size: Size | None = None) -> Float[Tensor, "3 h w"]:
    """Return one of scikit-image's bundled photographs, by name, as RGB in [0, 1].

    Raises:
        NameNotFound: none of that name is bundled.
    """
    if name not in PHOTOGRAPHS:
        raise not_found("photograph", name, PHOTOGRAPHS)
    array = np.asarray(getattr(photographs_of, name)())
    array = array * np.uint8(255) if array.dtype == bool else array
    image = from_pil(Image.fromarray(array))
    return image if size is None else resize_and_crop(image, size)


def from_pil(image: Image.Image) -> Float[Tensor, "3 h w"]:
    """Turn a PIL image of any mode into RGB in [0, 1]."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        gray = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535).clamp(0, 1)
        return gray.expand(3, -1, -1).contiguous()
    if image.mode == "F":
        raise InputError("an image of floats has no known range; save it as 8 or 16 bit first")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return from_uint8(np.asarray(image.convert("RGB")))


def from_uint8(
    pixels: UInt8[np.ndarray, "... h w 3"],
) -> Float[Tensor, "... 3 h w"]:
    """Turn 8-bit pixels, channels last, into floats in [0, 1], channels first."""
    return torch.from_numpy(np.array(pixels)).movedim(-1, -3).contiguous().float() / 255


def to_uint8(images: Float[Tensor, "... 3 h w"]) -> UInt8[np.ndarray, "... h w 3"]:
    """Turn images in [0, 1] (values outside are clipped) into 8-bit pixels, channels last."""
    rounded = (images.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8)
    return rounded.movedim(-3, -1).contiguous().numpy()


def to_pil(image: Float[Tensor, "3 h w"]) -> Image.Image:
    """Turn one image in [0, 1] into a PIL image."""
    return Image.fromarray(to_uint8(image))


def resize_and_crop(image: Float[Tensor, "... 3 h w"], size: Size) -> Float[Tensor, "... 3 y x"]:
    """Resize so that the size is just covered, antialiased, and cut out the middle.

    Args:
        image: one image or a batch, in [0, 1].
        size: side, or (height, width), in pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise InputError(f"size {size}: expected at least one pixel")
    batch = image if image.ndim == 4 else image.unsqueeze(0)
    factor = max(height / batch.shape[-2], width / batch.shape[-1])
    if factor != 1:
        new = [
            max(round(batch.shape[-2] * factor), height),
            max(round(batch.shape[-1] * factor), width),
        ]
        batch = functional.interpolate(
            batch, size=new, mode="bilinear", antialias=True, align_corners=False
        ).clamp(0, 1)
    top, left = (batch.shape[-2] - height) // 2, (batch.shape[-1] - width) // 2
    batch = batch[..., top : top + height, left : left + width]
    return batch if image.ndim == 4 else batch[0]


def tile(
    images: Images | Sequence[Tensor], columns: int, gap: int = 2, background: float = 1.0
) -> Float[Tensor, "3 h w"]:
    """Lay pictures of one size out in rows of `columns`, `gap` pixels apart."""
    pictures = list(images)
    if columns < 1 or not pictures:
        raise InputError(
            f"{len(pictures)} pictures in {columns} columns: expected at least one each"
        )
    height, width = pictures[0].shape[-2:]
    rows = -(-len(pictures) // columns)
    shape = (3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    sheet = torch.full(shape, background)
    for index, picture in enumerate(pictures):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[:, y : y + height, x : x + width] = picture
    return sheet
