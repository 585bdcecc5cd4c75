"""Folders in the Broden format that cannot be used."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from .case import Case
from .images import encoded, png

READ = "dissect alexnet_mini --layers CL1 --data broden --min-images 1 --out out"
INDEX = """image,split,ih,iw,sh,sw,object,scene
a.png,train,16,16,8,8,a_object.png,3
b.png,train,16,16,8,8,b_object.png,3
"""
LABELS = """number,name,category,frequency
0,-,,0
1,cat,object(2),2
2,dog,object(2),2
3,street,scene(2),2
"""
Change = Callable[[Path], object]


def write(folder: Path) -> Path:
    """Write a sound folder of two images."""
    path = folder / "broden"
    (path / "images").mkdir(parents=True)
    (path / "index.csv").write_text(INDEX)
    (path / "label.csv").write_text(LABELS)
    (path / "c_object.csv").write_text("number,frequency,coverage\n1,2,0.5\n2,2,0.5\n")
    for name in "ab":
        (path / "images" / f"{name}.png").write_bytes(encoded("PNG"))
        numbers = np.zeros((8, 8, 3), np.uint8)
        numbers[:4, :, 0], numbers[4:, :, 0] = 1, 2
        Image.fromarray(numbers).save(path / "images" / f"{name}_object.png")
    return path


def _with(change: Change) -> Change:
    return lambda folder: change(write(folder))


def _bytes(name: str, content: bytes | str) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return _with(lambda path: (path / name).write_bytes(data))


def _replaced(name: str, old: str, new: str) -> Change:
    """Return a function that writes a folder with a text changed in one of its files."""

    def change(path: Path) -> None:
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new, 1))

    return _with(change)


def _gone(name: str) -> Change:
    return _with(lambda path: (path / name).unlink())


def _index(old: str, new: str) -> Change:
    return _replaced("index.csv", old, new)


def _label(old: str, new: str) -> Change:
    return _replaced("label.csv", old, new)


def _pipe(path: Path) -> None:
    (path / "index.csv").unlink()
    os.mkfifo(path / "index.csv")


def _linked_out(path: Path) -> None:
    (path / "images" / "b.png").unlink()
    (path.parent / "outside.png").write_bytes(encoded("PNG"))
    (path / "images" / "b.png").symlink_to(path.parent / "outside.png")


def _numbers(number: int) -> Change:
    pixels = np.full((8, 8, 3), (number, 0, 0), np.uint8)
    return _with(lambda path: Image.fromarray(pixels).save(path / "images" / "b_object.png"))


HUGE = 10**6
BRODEN = {
    "no folder": Case(READ, None, "broden is not a Broden folder: it does not exist"),
    "a file": Case(READ, lambda folder: (folder / "broden").write_text("x"), "not a Broden folder"),
    "no index": Case(READ, _gone("index.csv"), "it lacks index.csv"),
    "no labels": Case(READ, _gone("label.csv"), "it lacks label.csv"),
    "a pipe as the index": Case(READ, _with(_pipe), "it lacks index.csv"),
    "an empty index": Case(READ, _bytes("index.csv", ""), "lacks the column"),
    "no image": Case(READ, _bytes("index.csv", INDEX.splitlines()[0] + "\n"), "lists no image"),
    "no column of images": Case(READ, _index("image,", "file,"), "lacks the column 'image'"),
    "no column of numbers": Case(READ, _label("number,", "n,"), "lacks the column 'number'"),
    "one cell too many": Case(READ, _index("png,3", "png,3,4"), "index.csv row 2: 9 cells for 8"),
    "one cell too few": Case(READ, _index("png,3", "png"), "index.csv row 2: 7 cells for 8"),
    "not UTF-8": Case(READ, _bytes("index.csv", INDEX.encode("utf-16")), "not a CSV file in UTF-8"),
    "binary": Case(READ, _bytes("label.csv", bytes(range(256))), "label.csv"),
    "a huge cell": Case(READ, _index("a.png", "a" * 200_000), "not a CSV file"),
    "an open quote": Case(READ, _index("a.png", '"a.png'), "index.csv row"),
    "an image outside": Case(READ, _index("a.png", "../../secret.png"), "leaves the folder"),
    "an absolute path": Case(READ, _index("a.png", "/etc/passwd"), "leaves the folder"),
    "a map outside": Case(READ, _index("a_object.png", "../index.csv"), "row 2, object: '../index"),
    "a link outside": Case(READ, _with(_linked_out), "row 3, image: 'b.png' leaves the folder"),
    "a null byte": Case(READ, _index("a.png", "a\0.png"), "index.csv"),
    "a folder as an image": Case(READ, _index("a.png", "."), "row 2, image"),
    "no such image": Case(READ, _gone("images/b.png"), "row 3, image: 'b.png' is not a file"),
    "no such map": Case(READ, _gone("images/b_object.png"), "row 3, object: 'b_object.png'"),
    "a damaged image": Case(READ, _bytes("images/b.png", b"no image"), "row 3, image: b.png"),
    "a damaged map": Case(READ, _bytes("images/b_object.png", b"no"), "row 3, object: label map b"),
    "half an image": Case(READ, _bytes("images/b.png", encoded("PNG")[:200]), "row 3, image"),
    "an image of floats": Case(
        READ, _bytes("images/b.png", encoded("TIFF", mode="F")), "row 3, image"
    ),
    "a huge map": Case(READ, _bytes("images/b_object.png", png(HUGE, HUGE)), "row 3, object"),
    "an image of another size": Case(
        READ, _bytes("images/b.png", encoded("PNG", (9, 9))), "b.png is 9x9, the row states 16x16"
    ),
    "a map of another size": Case(
        READ, _bytes("images/b_object.png", encoded("PNG", (9, 9))), "is 9x9, the row states 8x8"
    ),
    "an unknown number in a map": Case(READ, _numbers(9), "row 3, object: label map b_object.png"),
    "an unknown number in a row": Case(READ, _index("png,3", "png,9"), "row 2, scene: label 9 is"),
    "a number with a sign": Case(READ, _index("png,3", "png,-3"), "row 2, scene"),
    "no height": Case(READ, _index("16,16", "0,16"), "row 2, ih: expected at least 1 pixel"),
    "a negative width": Case(READ, _index("16,16", "16,-16"), "row 2, iw: '-16' is not"),
    "words as a size": Case(READ, _index("8,8", "8,eight"), "row 2, sw: 'eight' is not"),
    "huge images": Case(READ, _index("16,16", f"{HUGE},{HUGE}"), "row 2, ih: 1000000000000 pixels"),
    "huge maps": Case(READ, _index("8,8", f"{HUGE},{HUGE}"), "row 2, sh: 1000000000000 pixels"),
    "a size of 5000 digits": Case(READ, _index("16,16", f"{'9' * 5000},16"), "row 2, ih"),
    "a label given twice": Case(READ, _label("2,dog", "1,dog"), "label.csv row 4, number: 1 is"),
    "a label without a number": Case(READ, _label("2,dog", "two,dog"), "label.csv row 4, number"),
    "an unclear category": Case(READ, _label("object(2)", "object(2"), "label.csv row 3, category"),
    "a frequency in words": Case(READ, _label(",2\n", ",many\n"), "label.csv row 3, frequency"),
    "a coverage that is no number": Case(
        READ, _replaced("c_object.csv", "0.5", "nan"), "c_object.csv row 2, coverage"
    ),
    "no coverage": Case(READ, _replaced("c_object.csv", "coverage", "area"), "'coverage'"),
    "no such split": Case(f"{READ} --split test", write, "no image of split 'test' in broden"),
    "not downloaded": Case(READ.replace("data broden", "data broden1_227"), None, "cnnvis fetch"),
    "in a notebook": Case(
        "render 07 --preset smoke -p DATA broden --out out", _gone("images/b.png"), "DATA"
    ),
    "without a split in a notebook": Case(
        "render 08 --preset smoke -p DATA broden --out out", write, "DATA: no image of split 'val'"
    ),
    "a damaged map in a notebook": Case(
        "render 07 --preset smoke -p DATA broden --out out",
        _bytes("images/b_object.png", b"no"),
        "DATA: index.csv row 3, object",
    ),
}
