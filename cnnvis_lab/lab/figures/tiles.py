"""Pictures in rows with words below, as one PNG in a few milliseconds: for panels that move."""

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
    """A picture (3, h, w) or map (h, w) in [0, 1], and lines of words below it."""

    picture: Array
    words: str = ""


def render_png(rows: Sequence[Sequence[Tile]], cell: int = TILE_SIZE) -> bytes:
    """Lay tiles out in rows; the same tiles always give the same bytes.

    Args:
        rows: rows of tiles; rows may differ in length.
        cell: side in pixels of the square a picture is fitted into. The pixels of small pictures
            are repeated, so that they stay as they are.

    Raises:
        InputError: there is no tile.
    """
    if not any(rows):
        raise InputError("no picture to show; expected a row of one at least")
    heights = [cell + LINE_HEIGHT * _caption_lines(row) + GAP for row in rows]
    width = max(map(len, rows)) * (cell + GAP) + GAP
    page = Image.new("RGB", (width, sum(heights) + GAP), "white")
    y = GAP
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            _paste_tile(page, tile, GAP + place * (cell + GAP), y, cell)
        y += height
    buffer = BytesIO()
    page.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _caption_lines(row: Sequence[Tile]) -> int:
    return max((tile.words.count("\n") + 1 for tile in row if tile.words), default=0)


def _paste_tile(page: Image.Image, tile: Tile, x: int, y: int, cell: int) -> None:
    picture = fit_image(tile.picture, cell)
    corner = x + (cell - picture.width) // 2, y + (cell - picture.height) // 2
    page.paste(picture, corner)
    pen, font = ImageDraw.Draw(page), _font()
    for number, line in enumerate(tile.words.splitlines()):
        while line and font.getlength(line) > cell:
            line = f"{line.rstrip('…')[:-1]}…"
        left = x + (cell - font.getlength(line)) // 2
        pen.text((left, y + cell + 2 + number * LINE_HEIGHT), line, fill=INK, font=font)


@lru_cache
def _font() -> ImageFont.FreeTypeFont:
    """The font of all the house's figures, which comes with matplotlib."""
    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(file, FONT_SIZE)


def fit_image(picture: Array, cell: int) -> Image.Image:
    """Bring a picture or map to at most `cell` pixels a side, as large as whole pixels allow."""
    array = to_numpy(picture).astype(np.float32)
    array = np.repeat(array[None], 3, 0) if array.ndim == 2 else array
    times = max(1, cell // max(array.shape[-2:]))
    large = array.repeat(times, 1).repeat(times, 2)
    image = images.to_pil(torch.from_numpy(large))
    image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return image
