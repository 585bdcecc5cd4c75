"""Write folders in the Broden format atomically."""

import csv
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ...core import FileError, InputError, files
from .. import scenes
from ..labels import CATEGORIES, label_offsets


@dataclass(frozen=True)
class Item:
    """An image to be written.

    Attributes:
        name: file name without suffix, unique in the folder: letters, digits, `_`, `-`, `.` and
            inner spaces.
        image: (h, w, 3) uint8 RGB.
        split: "train" or "val".
        labels: category -> map (h, w) of indices into that category's names, counted from 1, 0 for
            unlabeled; or one such index for the whole image.
    """

    name: str
    image: np.ndarray
    split: str
    labels: Mapping[str, np.ndarray | int]


@dataclass
class _LabelCounts:
    """Number of occurrences of each label, and its total area as a fraction of an image."""

    frequency: Counter[int] = field(default_factory=Counter)
    coverage: dict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, values: np.ndarray) -> None:
        for number, count in zip(*np.unique(values, return_counts=True), strict=True):
            if number:
                self.frequency[int(number)] += 1
                self.coverage[int(number)] += float(count) / values.size


def write_folder(
    path: str | Path,
    items: Iterable[Item],
    names: Mapping[str, Sequence[str]],
    *,
    label_step: int = 2,
) -> None:
    """Write images and labels as a Broden folder; nothing is left behind on failure.

    Args:
        path: the new folder; must not exist.
        items: the images, consumed one at a time.
        names: category -> label names in the order of the items' indices.
        label_step: label maps contain every `label_step`-th pixel; 2 in Broden.

    Raises:
        FileError: the folder exists already.
        InputError: there are no items, a name is used twice or is not a plain file name, an image
            is not (h, w, 3) uint8, a map has another size, or `names` lacks a category or an index.
    """
    path = Path(path)
    if label_step < 1:
        raise InputError(f"label_step {label_step}: expected 1 (every pixel) or more")
    if path.exists():
        raise FileError(f"{path} already exists; choose another folder or remove it")
    offsets = label_offsets(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=files.PARTIAL, dir=path.parent))
    try:
        (partial / "images").mkdir()
        counts, rows = _LabelCounts(), []
        for item in items:
            rows.append(_write_item(partial / "images", item, names, offsets, label_step, counts))
        if not rows:
            raise InputError("no image to write: expected at least one item")
        _write_tables(partial, rows, names, offsets, counts)
        partial.chmod(0o755)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_scenes(
    path: str | Path, count: int, *, seed: int = 2, train_fraction: float = 0.7
) -> None:
    """Write the first synthetic scenes as a Broden folder.

    Args:
        path: the new folder.
        count: number of images.
        seed: seed of the scenes.
        train_fraction: fraction of the images marked "train", as in Broden; the others are "val".
    """

    def items() -> Iterable[Item]:
        for index in range(count):
            scene = scenes.draw(seed, index)
            split = "train" if index % 10 < round(10 * train_fraction) else "val"
            labels = {**scene.labels, "scene": scene.scene}
            yield Item(f"scene_{seed}_{index:06d}", scene.image, split, labels)

    write_folder(path, items(), scenes.LABELS)


def _write_item(
    folder: Path,
    item: Item,
    names: Mapping[str, Sequence[str]],
    offsets: dict[str, int],
    step: int,
    counts: _LabelCounts,
) -> dict[str, object]:
    _check_image(item)
    height, width = item.image.shape[:2]
    _save_png(item.image, folder / f"{item.name}.png")
    sh, sw = len(range(0, height, step)), len(range(0, width, step))
    row = {
        "image": f"{item.name}.png",
        "split": item.split,
        "ih": height,
        "iw": width,
        "sh": sh,
        "sw": sw,
    }
    for category, value in item.labels.items():
        low, high = np.min(value), np.max(value)
        if category not in names or high > len(names[category]) or low < 0:
            invalid = low if low < 0 else high
            raise InputError(f"{item.name}: {category} label {invalid} is not in the names")
        if np.ndim(value) == 0:
            numbers = np.full((1, 1), int(value) + offsets[category] if value else 0)
            row[category] = str(numbers[0, 0]) if value else ""
        else:
            numbers = _write_map(folder, item, category, offsets[category], step)
            row[category] = f"{item.name}_{category}.png" if numbers.any() else ""
        counts.add(numbers)
    return row


def _check_image(item: Item) -> None:
    if not re.fullmatch(r"\w([\w .-]*[\w.-])?", item.name):
        raise InputError(f"{item.name!r} is not a plain file name; use letters, digits, _, - and .")
    if item.image.dtype != np.uint8 or item.image.ndim != 3 or item.image.shape[2] != 3:
        actual = f"{item.image.dtype} {item.image.shape}"
        raise InputError(f"{item.name}: image is {actual}, expected uint8 (h, w, 3)")


def _save_png(pixels: np.ndarray, path: Path) -> None:
    if path.exists():
        raise InputError(f"{path.stem}: an image or map of that name has already been written")
    Image.fromarray(pixels).save(path)


def _write_map(folder: Path, item: Item, category: str, offset: int, step: int) -> np.ndarray:
    labels = np.asarray(item.labels[category])
    if labels.shape != item.image.shape[:2]:
        raise InputError(
            f"{item.name}: {category} map is {labels.shape}, the image {item.image.shape}"
        )
    small = labels[::step, ::step].astype(np.int64)
    numbers = np.where(small > 0, small + offset, 0)
    if numbers.any():
        pixels = np.stack([numbers % 256, numbers // 256, np.zeros_like(numbers)], axis=-1)
        _save_png(pixels.astype(np.uint8), folder / f"{item.name}_{category}.png")
    return numbers


def _write_tables(
    folder: Path,
    rows: list[dict[str, object]],
    names: Mapping[str, Sequence[str]],
    offsets: dict[str, int],
    counts: _LabelCounts,
) -> None:
    _write_csv(folder / "index.csv", ["image", "split", "ih", "iw", "sh", "sw", *CATEGORIES], rows)
    labels, categories = [], []
    for category in CATEGORIES:
        entries = [
            {
                "number": number,
                "name": name,
                "category": f"{category}({counts.frequency[number]})",
                "frequency": counts.frequency[number],
                "coverage": f"{counts.coverage[number]:.6f}",
                "syns": "",
            }
            for number, name in enumerate(names.get(category, ()), offsets[category] + 1)
        ]
        labels += entries
        background = {"code": 0, "number": 0, "name": "-", "frequency": 0, "coverage": 0}
        coded = [{**label, "code": code} for code, label in enumerate(entries, 1)]
        columns = ["code", "number", "name", "frequency", "coverage"]
        _write_csv(folder / f"c_{category}.csv", columns, [background, *coded])
        if entries:
            total = sum(label["frequency"] for label in entries)
            ends = {"first": entries[0]["number"], "last": entries[-1]["number"]}
            categories.append({"name": category, **ends, "count": len(entries), "frequency": total})
    columns = ["number", "name", "category", "frequency", "coverage", "syns"]
    _write_csv(folder / "label.csv", columns, labels)
    columns = ["name", "first", "last", "count", "frequency"]
    _write_csv(folder / "category.csv", columns, categories)


def _write_csv(path: Path, columns: list[str], rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
