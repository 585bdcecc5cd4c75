"""Reads folders in the Broden format (Bau et al. 2017): Broden 1.0, your own, or ours.

A folder holds `index.csv` (one row a picture: file, split, sizes, and per category a ';'-separated
list of label numbers for the whole picture and of label-map files), `label.csv` (number, name,
categories), `category.csv` and `c_<category>.csv`. Label maps are RGB pictures whose pixels hold
R + 256 G; 0 is unlabelled. Picture and map files lie under `images/`.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from ..core.errors import FileProblem, InputError
from ..core.files import note_input
from ..core.shapes import Float, Int, Tensor
from . import images

CATEGORIES = ("color", "object", "part", "material", "scene", "texture")
SIZES = ("ih", "iw", "sh", "sw")


class Label(NamedTuple):
    """A concept: its number in the maps, name, primary category, pictures that show it."""

    number: int
    name: str
    category: str
    frequency: int


@dataclass(frozen=True)
class Record:
    """A row of the index.

    Attributes:
        row: its line in index.csv, for messages.
        image: path of the picture below `images/`.
        split: "train" or "val".
        image_size: height and width of the picture.
        label_size: height and width of its label maps.
        labels: category -> label numbers (whole picture) and paths of label maps.
    """

    row: int
    image: str
    split: str
    image_size: tuple[int, int]
    label_size: tuple[int, int]
    labels: dict[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Broden:
    """An opened folder; pictures and maps are read when asked for.

    Attributes:
        path: the folder.
        categories: in the order of the index.
        labels: number -> label.
        records: the rows of the index, in order.
    """

    path: Path
    categories: tuple[str, ...]
    labels: dict[int, Label]
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.records)

    def split(self, name: str) -> "Broden":
        """Return the part of the folder whose rows say `name`, such as "train" or "val"."""
        chosen = tuple(record for record in self.records if record.split == name)
        if not chosen:
            known = ", ".join(sorted({record.split for record in self.records}))
            raise InputError(f"no picture of split {name!r} in {self.path.name}; it has {known}")
        return Broden(self.path, self.categories, self.labels, chosen)

    def read_image(self, index: int) -> Float[Tensor, "3 h w"]:
        """Read one picture as RGB in [0, 1].

        Raises:
            FileProblem: damaged, or not of the size its row states; names the row.
        """
        record = self.records[index]
        try:
            with Image.open(self.path / "images" / record.image) as opened:
                image = images.from_pil(opened)
        except (OSError, SyntaxError, ValueError) as error:
            raise _bad(record.row, f"{record.image} cannot be read ({error})") from None
        if tuple(image.shape[1:]) != record.image_size:
            found = "x".join(map(str, image.shape[1:]))
            said = "x".join(map(str, record.image_size))
            raise _bad(record.row, f"{record.image} is {found}, the index says {said}")
        return image

    def read_labels(self, index: int) -> dict[str, Int[np.ndarray, "layers h w"]]:
        """Read one picture's labels: per category one layer for each entry of its cell.

        A label of the whole picture fills its layer. A category without entries has no layer.

        Raises:
            FileProblem: a map is damaged, of the wrong size, or holds an unknown number.
        """
        record = self.records[index]
        return {
            category: np.stack([self._layer(record, entry) for entry in entries])
            for category, entries in record.labels.items()
            if entries
        }

    def _layer(self, record: Record, entry: int | str) -> np.ndarray:
        if isinstance(entry, int):
            return np.full(record.label_size, entry, dtype=np.int32)
        try:
            with Image.open(self.path / "images" / entry) as opened:
                pixels = np.asarray(opened.convert("RGB")).astype(np.int32)
        except (OSError, SyntaxError, ValueError) as error:
            raise _bad(record.row, f"label map {entry} cannot be read ({error})") from None
        layer = pixels[..., 0] + 256 * pixels[..., 1]
        if layer.shape != record.label_size:
            found, said = "x".join(map(str, layer.shape)), "x".join(map(str, record.label_size))
            raise _bad(record.row, f"label map {entry} is {found}, the index says {said}")
        unknown = set(np.unique(layer).tolist()) - self.labels.keys() - {0}
        if unknown:
            raise _bad(record.row, f"label map {entry} holds {min(unknown)}, not in label.csv")
        return layer

    def batches(
        self, size: int, image_size: int | None = None
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "n 3 h w"]]]:
        """Go through the pictures in order, `size` at a time, as (indices, images).

        Args:
            size: pictures a batch.
            image_size: resize and crop each to this side; needed where sizes differ.
        """
        for first in range(0, len(self), size):
            indices = range(first, min(first + size, len(self)))
            pictures = [self.read_image(index) for index in indices]
            if image_size:
                pictures = [images.resize_and_crop(picture, image_size) for picture in pictures]
            elif len({picture.shape for picture in pictures}) > 1:
                row = self.records[first].row
                raise InputError(f"pictures after row {row} differ in size; give image_size")
            yield torch.tensor(list(indices)), torch.stack(pictures)


def open_folder(path: str | Path) -> Broden:
    """Open a folder and check everything that can be checked without reading pictures.

    Raises:
        FileProblem: a file or column is missing, a path leaves the folder, a number is unknown;
            the message names the row.
    """
    path = Path(path)
    labels = _labels(_rows(path / "label.csv", ("number", "name", "category")))
    rows = _rows(path / "index.csv", ("image", "split", *SIZES))
    if not rows:
        raise FileProblem(f"{path / 'index.csv'} lists no picture")
    categories = tuple(name for name in CATEGORIES if name in rows[0])
    records = tuple(
        _record(path, number, row, categories, labels) for number, row in enumerate(rows, 2)
    )
    note_input(path)
    return Broden(path, categories, labels, records)


def check(folder: Broden) -> int:
    """Read every picture and label map; return how many pictures are sound.

    Raises:
        FileProblem: the first one that is not, by its row.
    """
    for index in range(len(folder)):
        folder.read_image(index)
        folder.read_labels(index)
    return len(folder)


def _bad(row: int, what: str) -> FileProblem:
    return FileProblem(f"index.csv row {row}: {' '.join(what.split())}")


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileProblem(f"{path.parent} is no Broden folder: it lacks {path.name}")
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise FileProblem(f"{path} lacks the column {missing[0]!r}")
        return [{k: v or "" for k, v in row.items() if k} for row in reader]


def _labels(rows: list[dict[str, str]]) -> dict[int, Label]:
    """Read label.csv; a category cell "object(12);part(3)" says how often a label occurs where."""
    labels: dict[int, Label] = {}
    for line, row in enumerate(rows, 2):
        found = re.findall(r"(\w+)\s*(?:\((\d+(?:\.\d+)?)\))?", row["category"])
        if not row["number"].isdecimal() or not found:
            raise FileProblem(f"label.csv row {line}: expected a number and a category")
        number = int(row["number"])
        if number in labels:
            raise FileProblem(f"label.csv row {line}: number {number} is given twice")
        primary = max(found, key=lambda part: float(part[1] or 0))[0]
        frequency = int(float(row.get("frequency") or 0))
        labels[number] = Label(number, row["name"], primary, frequency)
    labels.pop(0, None)  # Broden 1.0 lists the background
    return labels


def _record(
    path: Path,
    line: int,
    row: dict[str, str],
    categories: tuple[str, ...],
    labels: dict[int, Label],
) -> Record:
    sizes = [row[name] for name in SIZES]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise _bad(line, f"ih, iw, sh, sw are {', '.join(sizes)}; expected four positive numbers")
    ih, iw, sh, sw = map(int, sizes)
    _inside(path, line, row["image"])
    cells = {name: _cell(path, line, row.get(name, ""), labels) for name in categories}
    return Record(line, row["image"], row["split"], (ih, iw), (sh, sw), cells)


def _cell(path: Path, line: int, cell: str, labels: dict[int, Label]) -> tuple[int | str, ...]:
    entries: list[int | str] = []
    for entry in filter(None, (part.strip() for part in cell.split(";"))):
        if entry.isdecimal():
            if int(entry) not in labels:
                raise _bad(line, f"label {entry} is not in label.csv")
            entries.append(int(entry))
        else:
            _inside(path, line, entry)
            entries.append(entry)
    return tuple(entries)


def _inside(path: Path, line: int, name: str) -> None:
    root = (path / "images").resolve()
    file = (root / name).resolve()
    if not name or not file.is_relative_to(root):
        raise _bad(line, f"{name!r} leaves the folder; paths lie below images/")
    if not file.is_file():
        raise _bad(line, f"{name} is missing below images/")
