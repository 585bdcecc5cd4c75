"""Rows of captioned images as one PNG within milliseconds, for interactive panels."""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ...core import InputError
from ...data import images
from .style import INK, Array, to_numpy

TILE_SIZE, GAP, LINE_HEIGHT, FONT_SIZE = 168, 10, 15, 11  # pixels


class Tile(NamedTuple):
    """An image with a caption.

    Attributes:
        image: an image (3, h, w) or a map (h, w) in [0, 1].
        caption: one or more lines below it.
    """

    image: Array
    caption: str = ""


def render_png(rows: Sequence[Sequence[Tile]], cell: int = TILE_SIZE) -> bytes:
    """Arrange tiles in rows; equal tiles always give equal bytes.

    Args:
        rows: rows of tiles; rows may differ in length.
        cell: size of the square that an image is fitted into, in pixels. The pixels of small images
            are repeated.

    Returns:
        The PNG file.

    Raises:
        InputError: there is no tile.
    """
    if not any(rows):
        raise InputError("no image to show; expected at least one row with one image")
    heights = [cell + LINE_HEIGHT * _caption_lines(row) + GAP for row in rows]
    width = max(map(len, rows)) * (cell + GAP) + GAP
    page = Image.new("RGB", (width, sum(heights) + GAP), "white")
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            _paste_tile(page, tile, GAP + column * (cell + GAP), y, cell)
        y += height
    buffer = BytesIO()
    page.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _caption_lines(row: Sequence[Tile]) -> int:
    return max((tile.caption.count("\n") + 1 for tile in row if tile.caption), default=0)


def _paste_tile(page: Image.Image, tile: Tile, x: int, y: int, cell: int) -> None:
    image = fit_image(tile.image, cell)
    page.paste(image, (x + (cell - image.width) // 2, y + (cell - image.height) // 2))
    pen, font = ImageDraw.Draw(page), _font()
    for number, line in enumerate(tile.caption.splitlines()):
        while line and font.getlength(line) > cell:
            line = f"{line.rstrip('…')[:-1]}…"
        left = x + (cell - font.getlength(line)) // 2
        pen.text((left, y + cell + 2 + number * LINE_HEIGHT), line, fill=INK, font=font)


@lru_cache
def _font() -> ImageFont.FreeTypeFont:
    """Return the font of all figures, which comes with matplotlib."""
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(file, FONT_SIZE)


def fit_image(image: Array, cell: int = 0) -> Image.Image:
    """Scale an image or map to at most `cell` pixels a side; small ones by whole factors.

    Args:
        image: image (3, h, w) or map (h, w) in [0, 1].
        cell: 0 for the image's own size.
    """
    array = to_numpy(image).astype(np.float32)
    array = np.repeat(array[None], 3, 0) if array.ndim == 2 else array
    cell = cell or max(array.shape[-2:])
    times = max(1, cell // max(array.shape[-2:]))
    large = array.repeat(times, 1).repeat(times, 2)
    fitted = images.to_pil(torch.from_numpy(large))
    fitted.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return fitted
