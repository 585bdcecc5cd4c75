"""Reads folders in the Broden format (Bau et al. 2017): Broden 1.0, your own, or ours.

A folder holds `index.csv` (one row a picture: file, split, sizes, and per category a ';'-separated
list of label numbers for the whole picture and of label-map files), `label.csv` (number, name,
categories), `category.csv` and `c_<category>.csv`. Label maps are RGB pictures whose pixels hold
R + 256 G; 0 is unlabelled. Picture and map files lie under `images/`.
"""

import csv
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...core import FileError, Float, InputError, Int, files
from .. import images
from ..labels import Label

SIZE_COLUMNS = ("ih", "iw", "sh", "sw")
_CATEGORY_PATTERN = re.compile(r"([^();]+)(?:\((\d+(?:\.\d+)?)\))?")


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
    labels: dict[int, Label] = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def split(self, name: str) -> "Broden":
        """Return the part of the folder whose rows say `name`: "train", "val", or "all" of it."""
        chosen = tuple(record for record in self.records if name in (record.split, "all"))
        if not chosen:
            known = ", ".join(sorted({record.split for record in self.records}))
            raise InputError(f"no picture of split {name!r} in {self.path.name}; it has {known}")
        return replace(self, records=chosen)

    def read_image(self, index: int) -> Float[Tensor, "3 h w"]:
        """Read one picture as RGB in [0, 1], as it is stored.

        Raises:
            FileProblem: damaged, or not of the size its row states; names the row.
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
        """Read one picture's labels: per category one layer for each entry of its cell.

        A label of the whole picture fills its layer, so that it counts every pixel; 0 is
        unlabelled. A category without entries is left out.

        Raises:
            FileProblem: a map is damaged, of the wrong size, or holds an unknown number; names
                the row.
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
            what = f"label map {entry} holds {min(unknown)}, which label.csv lacks"
            raise _row_error(record.row, category, what)
        return layer

    def batches(
        self, size: int, image_size: images.Size | None = None
    ) -> Iterator[tuple[Int[Tensor, " n"], Float[Tensor, "n 3 h w"]]]:
        """Go through the pictures in order, `size` at a time, as (indices, images).

        Args:
            size: pictures a batch; no more are held at once.
            image_size: side, or (height, width), to stretch each picture to, as Broden's were, so
                that label maps still lie on it; needed where sizes differ.

        Raises:
            InputError: sizes differ and no `image_size` was given; names the row.
        """
        if size < 1:
            raise InputError(f"batches of {size} pictures: expected at least 1")
        for first in range(0, len(self), size):
            records = self.records[first : first + size]
            odd = [r.row for r in records if r.image_size != records[0].image_size]
            if odd and image_size is None:
                what = f"its picture differs in size from that of row {records[0].row}"
                raise InputError(f"index.csv row {odd[0]}, image: {what}; give image_size")
            indices = range(first, first + len(records))
            pictures = [self.read_image(index) for index in indices]
            if image_size is not None:
                pictures = [images.resize(picture, image_size) for picture in pictures]
            yield torch.tensor(indices), torch.stack(pictures)


def open_folder(path: str | Path) -> Broden:
    """Open a folder and check everything that can be checked without reading pictures.

    Raises:
        FileProblem: a file or column is missing, a path leaves the folder, a number is malformed,
            unknown or given twice; the message names the row.
    """
    path = Path(path)
    fixed = ("image", "split", *SIZE_COLUMNS)
    rows = _read_table(path / "index.csv", fixed)
    labels = _read_labels(path)
    if not rows:
        raise FileError(f"{path / 'index.csv'} lists no picture")
    categories = tuple(column for column in rows[0][1] if column not in fixed)
    root = os.path.realpath(path / "images")
    records = tuple(_parse_record(root, line, row, categories, labels) for line, row in rows)
    files.record_input(path)
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


def _row_error(row: int, column: str, what: str, file: str = "index.csv") -> FileError:
    return FileError(f"{file} row {row}, {column}: {' '.join(what.split())}")


def _check_size(
    record: Record, column: str, name: str, found: Sequence[int], stated: Sequence[int]
) -> None:
    if tuple(found) != tuple(stated):
        found, stated = "x".join(map(str, found)), "x".join(map(str, stated))
        raise _row_error(record.row, column, f"{name} is {found}, the row states {stated}")


def _read_table(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file as (line, cells by column)."""
    if not path.is_file():
        lacks = f"it lacks {path.name}" if path.parent.is_dir() else "nothing is there"
        needed = "give pictures with labels per pixel in Broden's format"
        raise FileError(f"{path.parent} is no Broden folder: {lacks}; {needed}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            columns = next(reader, [])
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no table of comma-separated UTF-8 text ({error})") from None
    for column in needed:
        if column not in columns:
            raise FileError(f"{path} lacks the column {column!r}")
    for line, cells in lines:
        if len(cells) != len(columns):
            what = f"{len(cells)} cells for {len(columns)} columns"
            raise FileError(f"{path.name} row {line}: {what}; expected one each")
    return [(line, dict(zip(columns, cells, strict=True))) for line, cells in lines]


def _read_labels(path: Path) -> dict[int, Label]:
    labels: dict[int, Label] = {}
    shares = _read_area_fractions(path)
    for line, row in _read_table(path / "label.csv", ("number", "name", "category")):
        number = _parse_number("label.csv", line, "number", row["number"])
        if number in labels:
            raise _row_error(line, "number", f"{number} is given twice", "label.csv")
        counts = _parse_category_counts(line, row["category"]) if number else {"": 0.0}
        category = max(counts, key=lambda name: (shares.get((name, number), 0.0), counts[name]))
        frequency = _parse_number("label.csv", line, "frequency", row.get("frequency") or "0")
        labels[number] = Label(number, row["name"], category, frequency)
    labels.pop(0, None)  # the background, which belongs to no category
    return labels


def _parse_category_counts(line: int, cell: str) -> dict[str, float]:
    """Parse "object(12);part(3)", how often a label occurs as what; the numbers may be missing."""
    parts = [_CATEGORY_PATTERN.fullmatch(part.strip()) for part in cell.split(";")]
    if None in parts:
        what = f"{cell!r} is not of the form object(12);part(3)"
        raise _row_error(line, "category", what, "label.csv")
    return {part[1]: float(part[2] or 0) for part in parts}


def _read_area_fractions(path: Path) -> dict[tuple[str, int], float]:
    """Read from c_<category>.csv how much of each category's labelled area a label covers.

    A label's primary category is the one where that share is largest.

    Source: `primary_categories_per_index` in NetDissect's src/loadseg.py: the coverage over the
    summed frequency of the category.
    """
    shares: dict[tuple[str, int], float] = {}
    for file in sorted(path.glob("c_*.csv")):
        rows = _read_table(file, ("number", "frequency", "coverage"))
        total = sum(
            _parse_number(file.name, line, "frequency", row["frequency"]) for line, row in rows
        )
        for line, row in rows:
            number = _parse_number(file.name, line, "number", row["number"])
            coverage = _parse_number(file.name, line, "coverage", row["coverage"], float)
            shares[file.stem.removeprefix("c_"), number] = coverage / max(total, 1)
    return shares


def _parse_number(
    file: str, line: int, column: str, text: str, kind: type[int] | type[float] = int
) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        wanted = "whole number" if kind is int else "number"
        raise _row_error(line, column, f"{text!r} is not a {wanted} from 0 up", file)
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
    cells = {name: _parse_cell(root, line, name, row[name], labels) for name in categories}
    ih, iw, sh, sw = sizes
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
        elif int(entry):  # Broden 1.0 writes 0 where a label was too rare to be listed
            raise _row_error(line, category, f"label {entry} is not in label.csv")
    return tuple(entries)


def _check_path(root: str, line: int, column: str, name: str) -> None:
    try:
        file = os.path.realpath(os.path.join(root, name))
        present = os.path.isfile(file)
    except ValueError:  # a zero byte
        file, present = root, False
    if os.path.commonpath([root, file]) != root:
        raise _row_error(line, column, f"{name!r} leaves the folder; paths lie below images/")
    if not present:
        raise _row_error(line, column, f"{name!r} is no file below images/")
