"""Read folders in the Broden format (Bau et al. 2017): Broden 1.0, or one of your own.

A folder contains `index.csv` (one row per image: file, split, sizes, and per category a
';'-separated list of label numbers for the whole image and of label-map files), `label.csv`
(number, name, categories), `category.csv` and `c_<category>.csv`. Label maps are RGB images whose
pixels encode R + 256 G; 0 is unlabeled. Image and map files are below `images/`.
"""

import csv
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Tensor

from ...core import FileError, Float, InputError, Int, files
from .. import images
from ..labels import Label

Number = TypeVar("Number", int, float)
MAX_PIXELS = 2**26  # of an image, and of all label maps of a category of an image
SIZE_COLUMNS = ("ih", "iw", "sh", "sw")
_CATEGORY_PATTERN = re.compile(r"([^();]+)(?:\((\d+(?:\.\d+)?)\))?")


@dataclass(frozen=True)
class Record:
    """A row of the index.

    Attributes:
        row: line in index.csv, for error messages.
        image: path of the image below `images/`.
        split: "train" or "val".
        image_size: height and width of the image.
        label_size: height and width of its label maps.
        labels: category -> label numbers (of the whole image) or paths of label maps.
    """

    row: int
    image: str
    split: str
    image_size: tuple[int, int]
    label_size: tuple[int, int]
    labels: dict[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class Broden:
    """An opened folder; images and maps are read on access.

    Attributes:
        path: the folder.
        categories: in the order of the index.
        labels: number -> label.
        records: the rows of the index, in order.
    """

    path: Path
    categories: tuple[str, ...]
    labels: dict[int, Label] = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def split(self, name: str) -> "Broden":
        """Return the images of one split.

        Args:
            name: "train", "val", or "all".

        Raises:
            InputError: the split is empty.
        """
        chosen = tuple(record for record in self.records if name in (record.split, "all"))
        if not chosen:
            known = ", ".join(sorted({record.split for record in self.records}))
            raise InputError(f"no image of split {name!r} in {self.path.name}; it has {known}")
        return replace(self, records=chosen)

    def read_image(self, index: int) -> Float[Tensor, "3 h w"]:
        """Read one image as RGB in [0, 1], at its stored size.

        Raises:
            FileError: the file is damaged, or its size differs from that in its row; the message
                names the row.
        """
        record = self.records[index]
        try:
            with images.open_image(self.path / "images" / record.image) as stored:
                image = images.from_pil(stored)
        except (FileError, InputError) as error:
            raise _row_error(record.row, "image", f"{record.image}: {error}") from None
        _check_size(record, "image", record.image, tuple(image.shape[1:]), record.image_size)
        return image

    def read_labels(self, index: int) -> dict[str, Int[np.ndarray, "layers h w"]]:
        """Read the labels of one image: per category one layer for each entry of its cell.

        The layer of a whole-image label is constant; 0 is unlabeled. A category without entries is
        omitted.

        Raises:
            FileError: a map is damaged, has the wrong size, or contains an unknown number; the
                message names the row.
        """
        record = self.records[index]
        return {
            category: np.stack([self._layer(record, category, entry) for entry in entries])
            for category, entries in record.labels.items()
            if entries
        }

    def _layer(self, record: Record, category: str, entry: int | str) -> np.ndarray:
        if isinstance(entry, int):
            return np.full(record.label_size, entry, dtype=np.int32)
        try:
            with images.open_image(self.path / "images" / entry) as stored:
                pixels = np.asarray(stored.convert("RGB")).astype(np.int32)
        except FileError as error:
            raise _row_error(record.row, category, f"label map {entry}: {error}") from None
        layer = pixels[..., 0] + 256 * pixels[..., 1]
        _check_size(record, category, f"label map {entry}", layer.shape, record.label_size)
        unknown = set(np.unique(layer).tolist()) - self.labels.keys() - {0}
        if unknown:
            what = f"label map {entry} contains {min(unknown)}, which is not in label.csv"
            raise _row_error(record.row, category, what)
        return layer


def open_folder(path: str | Path) -> Broden:
    """Open a folder and check everything that can be checked without reading images.

    Raises:
        FileError: a file or column is missing, a path leads out of the folder, or a number is
            malformed, unknown or given twice; the message names the row.
    """
    path = Path(path)
    fixed = ("image", "split", *SIZE_COLUMNS)
    rows = _read_table(path / "index.csv", fixed)
    labels = _read_labels(path)
    if not rows:
        raise FileError(f"{path / 'index.csv'} lists no image")
    categories = tuple(column for column in rows[0][1] if column not in fixed)
    root = os.path.realpath(path / "images")
    records = tuple(_parse_record(root, line, row, categories, labels) for line, row in rows)
    files.record_input(path)
    return Broden(path, categories, labels, records)


def _row_error(row: int, column: str, what: str, file: str = "index.csv") -> FileError:
    return FileError(f"{file} row {row}, {column}: {' '.join(what.split())}")


def _check_size(
    record: Record, column: str, name: str, actual: Sequence[int], stated: Sequence[int]
) -> None:
    if tuple(actual) != tuple(stated):
        sizes = ["x".join(map(str, size)) for size in (actual, stated)]
        raise _row_error(record.row, column, f"{name} is {sizes[0]}, the row states {sizes[1]}")


def _read_table(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file as (line, cells by column)."""
    if not path.is_file():
        lacks = f"it lacks {path.name}" if path.parent.is_dir() else "it does not exist"
        hint = "expected images with pixel labels in Broden's format"
        raise FileError(f"{path.parent} is not a Broden folder: {lacks}; {hint}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            columns = next(reader, [])
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileError(f"{path} is not a CSV file in UTF-8 ({error})") from None
    for column in required:
        if column not in columns:
            raise FileError(f"{path} lacks the column {column!r}")
    for line, cells in lines:
        if len(cells) != len(columns):
            what = f"{len(cells)} cells for {len(columns)} columns"
            raise FileError(f"{path.name} row {line}: {what}; expected one each")
    return [(line, dict(zip(columns, cells, strict=True))) for line, cells in lines]


def _read_labels(path: Path) -> dict[int, Label]:
    labels: dict[int, Label] = {}
    fractions = _read_area_fractions(path)
    for line, row in _read_table(path / "label.csv", ("number", "name", "category")):
        number = _parse_number("label.csv", line, "number", row["number"])
        if number in labels:
            raise _row_error(line, "number", f"{number} is given twice", "label.csv")
        counts = _parse_category_counts(line, row["category"]) if number else {"": 0.0}
        category = max(counts, key=lambda name: (fractions.get((name, number), 0.0), counts[name]))
        frequency = _parse_number("label.csv", line, "frequency", row.get("frequency") or "0")
        labels[number] = Label(number, row["name"], category, frequency)
    labels.pop(0, None)  # the background, which has no category
    return labels


def _parse_category_counts(line: int, cell: str) -> dict[str, float]:
    """Parse "object(12);part(3)": how often a label occurs per category; counts are optional."""
    counts: dict[str, float] = {}
    for part in cell.split(";"):
        match = _CATEGORY_PATTERN.fullmatch(part.strip())
        if match is None:
            what = f"{cell!r} is not of the form object(12);part(3)"
            raise _row_error(line, "category", what, "label.csv")
        counts[match[1]] = float(match[2] or 0)
    return counts


def _read_area_fractions(path: Path) -> dict[tuple[str, int], float]:
    """Read each label's fraction of its category's labeled area from c_<category>.csv.

    The primary category of a label is the one in which this fraction is largest.

    Source: `primary_categories_per_index` in NetDissect's src/loadseg.py: the coverage divided by
    the summed frequency of the category.
    """
    fractions: dict[tuple[str, int], float] = {}
    for file in sorted(path.glob("c_*.csv")):
        rows = _read_table(file, ("number", "frequency", "coverage"))
        total = sum(
            _parse_number(file.name, line, "frequency", row["frequency"]) for line, row in rows
        )
        for line, row in rows:
            number = _parse_number(file.name, line, "number", row["number"])
            coverage = _parse_number(file.name, line, "coverage", row["coverage"], float)
            fractions[file.stem.removeprefix("c_"), number] = coverage / max(total, 1)
    return fractions


def _parse_number(file: str, line: int, column: str, text: str, kind: type[Number] = int) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not 0 <= value < math.inf:
        noun = "integer" if kind is int else "number"
        raise _row_error(line, column, f"{text!r} is not a non-negative {noun}", file)
    return value


def _parse_record(
    root: str,
    line: int,
    row: dict[str, str],
    categories: tuple[str, ...],
    labels: dict[int, Label],
) -> Record:
    sizes = [_parse_number("index.csv", line, name, row[name]) for name in SIZE_COLUMNS]
    if 0 in sizes:
        raise _row_error(line, SIZE_COLUMNS[sizes.index(0)], "expected at least 1 pixel")
    _check_path(root, line, "image", row["image"])
    for column, pixels in (("ih", sizes[0] * sizes[1]), ("sh", sizes[2] * sizes[3])):
        if pixels > MAX_PIXELS:
            raise _row_error(line, column, f"{pixels} pixels; expected at most {MAX_PIXELS}")
    cells = {name: _parse_cell(root, line, name, row[name], labels) for name in categories}
    ih, iw, sh, sw = sizes
    for name, cell in cells.items():
        if len(cell) * sh * sw > MAX_PIXELS:
            what = f"{len(cell)} labels of {sh}x{sw} pixels; expected {MAX_PIXELS} pixels at most"
            raise _row_error(line, name, what)
    return Record(line, row["image"], row["split"], (ih, iw), (sh, sw), cells)


def _parse_cell(
    root: str, line: int, category: str, cell: str, labels: dict[int, Label]
) -> tuple[int | str, ...]:
    entries: list[int | str] = []
    for entry in filter(None, (part.strip() for part in cell.split(";"))):
        if not re.fullmatch(r"[0-9]{1,9}", entry):
            _check_path(root, line, category, entry)
            entries.append(entry)
        elif int(entry) in labels:
            entries.append(int(entry))
        elif int(entry):  # Broden 1.0 writes 0 for labels too rare to be listed
            raise _row_error(line, category, f"label {entry} is not in label.csv")
    return tuple(entries)


def _check_path(root: str, line: int, column: str, name: str) -> None:
    try:
        file = os.path.realpath(os.path.join(root, name))
        present = os.path.isfile(file)
    except ValueError:  # a null byte
        file, present = root, False
    if os.path.commonpath([root, file]) != root:
        raise _row_error(line, column, f"{name!r} leaves the folder; paths must be below images/")
    if not present:
        raise _row_error(line, column, f"{name!r} is not a file below images/")
