"""Smaller WebP copies of large figures, so that the gallery loads quickly."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from ...core import files

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

    The name of a copy contains the figure's digest, so that it is made once.

    Args:
        out: the results folder.
        file: the figure, relative to it.
    """
    path = out / file
    try:
        size = path.stat().st_size
        if size < MIN_BYTES:
            return Preview(file, *_png_size(path.read_bytes()))
        copy = f"{FOLDER}/{path.stem}-{files.digest(path)[:12]}.webp"
        if not (out / copy).is_file():
            files.write_atomically(out / copy, shrink(path))
    except OSError:
        return None
    width, height = _png_size(path.read_bytes())
    shown_width = min(width, MAX_WIDTH)
    return Preview(copy, shown_width, round(height * shown_width / width))


def _png_size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def shrink(path: Path, max_width: int = MAX_WIDTH) -> bytes:
    """Return a figure as WebP of at most `max_width` pixels; the same bytes each time."""
    from PIL import Image  # slow to import

    with Image.open(path) as opened:
        image = opened.convert("RGB")
    if image.width > max_width:
        height = round(image.height * max_width / image.width)
        image = image.resize((max_width, height), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def remove_unused(out: Path, used: set[str]) -> None:
    """Remove copies that the page no longer shows."""
    for file in (out / FOLDER).glob("*.webp"):
        if f"{FOLDER}/{file.name}" not in used:
            file.unlink(missing_ok=True)
