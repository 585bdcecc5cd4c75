"""Smaller copies of large figures, so that a page of all of them opens at once."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from ...core import files

MAX_WIDTH, WEBP_QUALITY = 1400, 82  # pixels; of WebP, 0 to 100
MIN_BYTES = 150_000  # bytes, from which on a figure gets a copy
FOLDER = "previews"


class Preview(NamedTuple):
    """The file a page shows in place of a figure, relative to the results folder, and its size."""

    file: str
    width: int
    height: int


def preview(out: Path, file: str) -> Preview | None:
    """Return what to show of a figure, a copy where it is large; None where it is not there.

    The copy's name has the figure's digest, so that it is made once.

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
    wide = min(width, MAX_WIDTH)
    return Preview(copy, wide, round(height * wide / width))


def _png_size(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def shrink(path: Path, wide: int = MAX_WIDTH) -> bytes:
    """Return a figure as WebP, at most `wide` pixels wide; the same bytes each time."""
    from PIL import Image  # only where there is something to draw

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    if picture.width > wide:
        height = round(picture.height * wide / picture.width)
        picture = picture.resize((wide, height), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue()


def remove_unused(out: Path, used: set[str]) -> None:
    """Remove the copies that no page shows any more."""
    for file in (out / FOLDER).glob("*.webp"):
        if f"{FOLDER}/{file.name}" not in used:
            file.unlink(missing_ok=True)
