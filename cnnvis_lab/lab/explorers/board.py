"""What a panel shows: captioned images in rows, as a page and as one PNG file."""

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import zip_longest
from math import ceil
from pathlib import Path

import anywidget
import numpy as np
from PIL import Image, PngImagePlugin
from traitlets import Dict, Unicode

from .. import figures
from ..figures import TILE_SIZE, Tile

STATIC = Path(__file__).parent / "static"
PIXELATED = 4  # images that are enlarged this much keep sharp pixels
PENDING, OPTIMIZING = "computing ...", "optimizing ..."
PAGE_WIDTH = 900  # of two views side by side, in pixels, at most; a wider pair is stacked
PAGE_HEIGHT = 352  # of the rows that are not folded, in pixels
CAPTION_WIDTH = 96  # pixels of a caption; seven captions fit beside each other in a narrow window
CAPTION_LINE, CHARACTER = 16, 6.3  # height of a line and width of a character, in pixels
STACKED, SMALLEST = 0.6, 64  # image size of stacked views, relative to one view; in pixels
STACKED_HEIGHT = 290  # of their rows that are not folded, in pixels


@dataclass(frozen=True)
class View:
    """What a panel shows.

    Attributes:
        rows: rows of images with captions.
        text: a line below them.
        cell: size of an image, in pixels.
        height: of the rows that are not folded, in pixels, unless the first is higher.
        column: width of an image's caption, in pixels; 0 for that of the image.
    """

    rows: Sequence[Sequence[Tile]]
    text: str = ""
    cell: int = TILE_SIZE
    height: int = PAGE_HEIGHT
    column: int = 0

    def beside(self, other: "View", names: Sequence[str]) -> "View":
        """Return this view and another: side by side, or one above the other if they are wide.

        Args:
            other: a view of the same method.
            names: names of the two, for the captions of stacked rows.
        """
        lines = [*self.text.splitlines(), *other.text.splitlines()]
        text = "\n".join(dict.fromkeys(lines))  # some are of both units
        columns = sum(max(map(len, view.rows), default=0) for view in (self, other))
        if columns * self.cell <= PAGE_WIDTH and len(self.rows) == len(other.rows):
            rows = [[*a, *b] for a, b in zip(self.rows, other.rows, strict=True)]
            return replace(self, rows=rows, text=text)
        pairs = zip_longest(self.rows, other.rows, fillvalue=())
        rows = [row for pair in pairs for row in _stacked(*pair, names)]
        cell, height = max(SMALLEST, round(STACKED * self.cell)), min(self.height, STACKED_HEIGHT)
        return View(rows, text, cell, height, max(cell, CAPTION_WIDTH))


def _stacked(
    upper: Sequence[Tile], lower: Sequence[Tile], names: Sequence[str]
) -> list[Sequence[Tile]]:
    """Return two rows, with names in their first captions; what is true of both is said once."""
    if len(upper) == len(lower) and all(map(_is_same, upper, lower)):
        return [upper]
    rows: list[Sequence[Tile]] = []
    said: list[str] = []
    for name, row in zip(names, (upper, lower), strict=True):
        if row:
            lines = [line for line in row[0].caption.splitlines() if line not in said]
            rows.append([row[0]._replace(caption="\n".join([name, *lines])), *row[1:]])
            said = row[0].caption.splitlines()
    return rows


def _is_same(one: Tile, other: Tile) -> bool:
    same = one.caption == other.caption
    return same and figures.fit_image(one.image) == figures.fit_image(other.image)


@dataclass(frozen=True)
class EncodedView:
    """A view whose images are PNG files.

    Attributes:
        rows: rows of (PNG, caption).
        text: the line below them.
        cell: size of an image, in pixels.
        height: of the rows that are not folded, in pixels.
        column: width of an image's caption, in pixels.
    """

    rows: Sequence[Sequence[tuple[bytes, str]]]
    text: str
    cell: int
    height: int
    column: int

    def to_png(self, facts: Mapping[str, str] | None = None) -> bytes:
        """Return all images on one page.

        Args:
            facts: texts by name, which become texts of the PNG file.
        """
        rows = [[Tile(_decode(png), caption) for png, caption in row] for row in self.rows]
        page = figures.render_png(rows, self.cell)
        return page if facts is None else _with_texts(page, facts)

    def to_html(self) -> str:
        """Return the rows as HTML; those beyond `height` are folded."""
        height, shown, folded = 0.0, [], []
        for row in self.rows:
            lines = max(self._lines(caption) for _, caption in row)
            height += self.cell + CAPTION_LINE * lines + 5
            (folded if shown and height > self.height else shown).append(self._row(row))
        if not folded:
            return "".join(shown)
        summary = f"<summary>more rows ({len(folded)})</summary>"
        return f"{''.join(shown)}<details>{summary}{''.join(folded)}</details>"

    def _lines(self, caption: str) -> int:
        """About the number of lines that a caption takes below its image."""
        return sum(ceil(len(line) * CHARACTER / self.column) for line in caption.splitlines())

    def _row(self, row: Sequence[tuple[bytes, str]]) -> str:
        columns = max(map(len, self.rows))
        cells = "".join(self._figure(png, caption, row[0][1]) for png, caption in row)
        style = f"--columns: {columns}; --cell: {self.column}px"
        return f'<div class="cnnvis-row" style="{style}">{cells}</div>'

    def _figure(self, png: bytes, caption: str, row_caption: str) -> str:
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
        scale = self.cell / max(width, height)
        times = int(scale) if scale >= PIXELATED else 0
        scale = times or scale
        alt = html.escape(" ".join((caption or row_caption).split()) or "image")
        small = ' class="cnnvis-small"' if times else ""
        return (
            f'<figure><img{small} src="data:image/png;base64,{b64encode(png).decode()}" '
            f'alt="{alt}" title="enlarge" tabindex="0" role="button" '
            f'style="width: {round(width * scale)}px">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        )


def encode(view: View) -> EncodedView:
    """Encode a view's images; small ones are enlarged by the reader's browser."""
    rows = [[(_encode(tile), tile.caption) for tile in row] for row in view.rows if row]
    return EncodedView(rows, view.text, view.cell, view.height, view.column or view.cell)


def _encode(tile: Tile) -> bytes:
    image = figures.fit_image(tile.image)
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _decode(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)), np.float32).transpose(2, 0, 1) / 255


def _with_texts(png: bytes, facts: Mapping[str, str]) -> bytes:
    texts, buffer = PngImagePlugin.PngInfo(), BytesIO()
    for name, text in facts.items():
        texts.add_itxt(name, text)
    Image.open(BytesIO(png)).save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


class Board(anywidget.AnyWidget):
    """The page of a view; its images can be enlarged, saved, and described by a text to copy.

    Attributes:
        html: the rows of images.
        tips: label of a control -> its tooltip.
        label: description of the images.
    """

    _esm = STATIC / "board.js"
    _css = STATIC / "panel.css"
    html = Unicode().tag(sync=True)
    tips = Dict().tag(sync=True)
    label = Unicode().tag(sync=True)

    def save(self, name: str, png: bytes) -> None:
        """Let the browser save a file."""
        self.send({"save": name}, [png])

    def copy(self, text: str) -> None:
        """Let the browser copy a text to the clipboard."""
        self.send({"copy": text})
