"""Smaller WebP copies of large figures, so that the gallery loads quickly."""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from ...core import FileError, files
from ..dependencies import code_digest

MAX_WIDTH, WEBP_QUALITY = 1400, 82  # pixels; of WebP, 0 to 100
MIN_BYTES = 150_000  # bytes, from which on a figure gets a copy
FOLDER = "previews"


class Preview(NamedTuple):
    """The file that a page shows in place of a figure.

    Attributes:
        file: relative to the results folder.
        width: in pixels.
        height: in pixels.
    """

    file: str
    width: int
    height: int


def preview(out: Path, file: str) -> Preview | None:
    """Return the file to show for a figure: a copy if it is large; None if the figure is missing.

    The name of a copy, which `write_copies` makes, contains a digest of the figure and of what
    makes the copy.

    Args:
        out: the results folder.
        file: the figure, relative to it.
    """
    path = out / file
    try:
        width, height = _png_size(path.read_bytes())
        if path.stat().st_size < MIN_BYTES:
            return Preview(file, width, height)
        copy = f"{FOLDER}/{path.stem}-{_key(path)[:12]}.webp"
    except OSError:
        return None
    shown_width = min(width, MAX_WIDTH)
    return Preview(copy, shown_width, round(height * shown_width / max(width, 1)))


def write_copies(out: Path, copies: Mapping[str, str]) -> None:
    """Write the copies that are missing, and remove those that no page shows.

    Args:
        out: the results folder.
        copies: the file of a preview -> the figure, both relative to the folder.
    """
    for copy, figure in copies.items():
        if not (out / copy).is_file():
            files.write_atomically(out / copy, shrink(out / figure))
    for unused in unused_copies(out, copies):
        unused.unlink(missing_ok=True)


def unused_copies(out: Path, used: Collection[str]) -> list[Path]:
    """Return the copies in a results folder that no page shows."""
    found = (out / FOLDER).glob(f"*-{'[0-9a-f]' * 12}.webp")
    return [file for file in found if f"{FOLDER}/{file.name}" not in used]


def _key(path: Path) -> str:
    return hashlib.sha256((files.digest(path) + _maker_digest()).encode()).hexdigest()


@cache
def _maker_digest() -> str:
    return code_digest("from cnnvis_lab.lab.gallery import previews\npreviews.shrink")


def _png_size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def shrink(path: Path, max_width: int = MAX_WIDTH) -> bytes:
    """Return a figure as WebP of at most `max_width` pixels; the same bytes each time.

    Args:
        path: a PNG file.
        max_width: in pixels.

    Raises:
        FileError: it is no PNG file, a damaged one, or far too large.
    """
    from PIL import Image  # slow to import

    buffer = BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            image = opened.convert("RGB")
        if image.width > max_width:
            height = round(image.height * max_width / image.width)
            image = image.resize((max_width, height), Image.Resampling.LANCZOS)
        image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    except Exception as error:  # the decoder raises almost any error on damaged files
        reason = " ".join(str(error).split())
        raise FileError(f"{path} cannot be read as a PNG image ({reason})") from None
    return buffer.getvalue()
