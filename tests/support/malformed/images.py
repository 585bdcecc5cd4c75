"""Folders of images that cannot be used."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from .case import Case

READ = "unit alexnet_mini CL1:0 --images 8 --data images --out out"


def encoded(form: str, size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    """Return noise as a file of one of Pillow's formats."""
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(stream, form)
    return stream.getvalue()


def png(width: int, height: int, pixels: bytes = b"", depth: int = 8, color: int = 2) -> bytes:
    """Return a PNG with any header."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def files(**content: bytes | str) -> Callable[[Path], object]:
    """Return a function that writes files into the folder of images; `_png` means `.png`."""

    def write(folder: Path) -> None:
        for name, data in content.items():
            path = folder / "images" / name.replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)

    return write


def _one_of_nine(folder: Path) -> None:
    files(**{f"a{n}_png": encoded("PNG") for n in range(8)}, z_png=encoded("PNG")[:300])(folder)


def _with(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that makes something that is no file, called images/a.png."""

    def write(folder: Path) -> None:
        (folder / "images").mkdir()
        make(folder / "images" / "a.png")

    return write


def _linked_to_nothing(path: Path) -> None:
    path.symlink_to("nothing.png")


def _linked_to_itself(path: Path) -> None:
    path.symlink_to(path)


_TIFF = b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 10**9, 257, 4, 1, 10**9)
_GIF = b"GIF89a" + struct.pack("<HHBBB", 0, 0, 0, 0, 0) + b";"
_BMP = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 16, -(2**31), 1, 24, *[0] * 6)
IMAGES = {
    "no folder": Case(READ, None, "--data: no folder with images at images"),
    "a file": Case(READ, lambda folder: (folder / "images").write_text("x"), "images"),
    "an empty folder": Case(READ, lambda folder: (folder / "images").mkdir(), "no folder with"),
    "no image in it": Case(READ, files(notes_txt="x", page_html="<p>"), "no folder with images"),
    "hidden images only": Case(READ, files(**{".a_png": encoded("PNG")}), "no folder with images"),
    "programs only": Case(READ, files(a_eps=encoded("EPS")), "no folder with images"),
    "drawings only": Case(READ, files(a_svg="<svg onload='alert(1)'/>"), "no folder with images"),
    "nothing in a file": Case(READ, files(a_png=b""), "images/a.png is not an image"),
    "noise": Case(READ, files(a_png=bytes(range(256)) * 9), "images/a.png is not an image"),
    "text": Case(READ, files(a_jpg="<html>not found</html>"), "images/a.jpg is not an image"),
    "code": Case(READ, files(a_png="import os; os.system('touch ran')"), "is not an image"),
    "a program as an image": Case(READ, files(a_png=encoded("EPS")), "a.png is not an image"),
    "half a PNG": Case(READ, files(a_png=encoded("PNG")[:300]), "images/a.png"),
    "half a JPEG": Case(READ, files(a_jpg=encoded("JPEG")[:400]), "images/a.jpg"),
    "half a WebP": Case(READ, files(a_webp=encoded("WEBP")[:100]), "images/a.webp"),
    "half a TIFF": Case(READ, files(a_tiff=encoded("TIFF")[:200]), "images/a.tiff"),
    "half a JPEG 2000": Case(READ, files(a_jp2=encoded("JPEG2000")[:99]), "images/a.jp2"),
    "half a GIF": Case(READ, files(a_gif=encoded("GIF")[:20]), "images/a.gif"),
    "one of nine": Case(READ, _one_of_nine, "1 of 8 images in"),
    "a narrow image": Case(READ, files(a_png=encoded("PNG", (1, 60000))), "too narrow"),
    "a flat image": Case(READ, files(a_png=encoded("PNG", (60000, 1))), "too narrow"),
    "a huge image": Case(READ, files(a_png=png(10**5, 10**5)), "a.png has over"),
    "a huge PPM": Case(READ, files(a_ppm="P6 999999 999999 255\n"), "a.ppm has over"),
    "a huge TIFF": Case(READ, files(a_tiff=_TIFF), "a.tiff"),
    "a huge negative BMP": Case(READ, files(a_bmp=_BMP), "a.bmp"),
    "no pixels": Case(READ, files(a_gif=_GIF), "a.gif"),
    "no width": Case(READ, files(a_png=png(0, 5)), "a.png"),
    "an unknown depth": Case(READ, files(a_png=png(5, 5, bytes(80), depth=3)), "a.png"),
    "too few pixels": Case(READ, files(a_png=png(500, 500, bytes(10))), "a.png"),
    "floats": Case(READ, files(a_tiff=encoded("TIFF", mode="F")), "a float image"),
    "a folder as an image": Case(READ, _with(Path.mkdir), "no image file at images/a.png"),
    "a pipe as an image": Case(READ, _with(os.mkfifo), "no image file at images/a.png"),
    "a link to nothing": Case(READ, _with(_linked_to_nothing), "no image file at images/a.png"),
    "a link to itself": Case(READ, _with(_linked_to_itself), "no image file at images/a.png"),
    "a name with an escape": Case(
        READ, files(**{"a\x1b[31m\n_png": b""}), r"a\x1b[31m\n.png is not an image"
    ),
}  # fmt: skip
