"""Broden folders are written completely or not at all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.broden_items import NAMES, assert_refused, count_readable, item, items_of_three

from cnnvis_lab.core import InputError
from cnnvis_lab.data import broden
from cnnvis_lab.data.broden import Item, write_folder, write_scenes


def _failing(error: BaseException) -> Iterator[Item]:
    yield item("a", object=np.ones((6, 8), int))
    raise error


HALF = np.ones((3, 4), int)


BAD_ITEMS = {
    "an error between items": (lambda: _failing(RuntimeError("gone")), RuntimeError, "gone"),
    "an interrupt": (lambda: _failing(KeyboardInterrupt()), KeyboardInterrupt, None),
    "no items": (lambda: [], InputError, "at least one"),
    "a name twice": (lambda: [item("a"), item("a")], InputError, "a: .*already been written"),
    "an image named like a map": (
        lambda: [item("a", object=np.ones((6, 8), int)), item("a_object")],
        InputError,
        "a_object: .*already been written",
    ),
    "a map named like an image": (
        lambda: [item("a_object"), item("a", object=np.ones((6, 8), int))],
        InputError,
        "a_object: .*already been written",
    ),
    "a name that leaves the folder": (
        lambda: [item("../../a")],
        InputError,
        "'../../a' is not a plain file name",
    ),
    "a name that splits a cell": (lambda: [item("a;b")], InputError, "not a plain file name"),
    "a name of two lines": (lambda: [item("a\nb")], InputError, "not a plain file name"),
    "a gray image": (
        lambda: [Item("a", np.zeros((6, 8), np.uint8), "val", {})],
        InputError,
        r"a: image is uint8 \(6, 8\)",
    ),
    "an image of floats": (
        lambda: [Item("a", np.zeros((6, 8, 3)), "val", {})],
        InputError,
        r"a: image is float64 \(6, 8, 3\)",
    ),
    "a map of another size": (
        lambda: [item("a", object=HALF)],
        InputError,
        r"a: object map is \(3, 4\)",
    ),
    "an index too high": (
        lambda: [item("b"), item("a", object=np.full((6, 8), 4))],
        InputError,
        "a: object label 4 is not",
    ),
    "an index below zero": (
        lambda: [item("a", object=np.arange(-1, 47).reshape(6, 8).clip(max=2))],
        InputError,
        "a: object label -1 is not",
    ),
    "the index of an image-level label too high": (
        lambda: [item("a", scene=2)],
        InputError,
        "a: scene label 2 is not",
    ),
    "a category without names": (
        lambda: [item("a", material=1)],
        InputError,
        "a: material label 1 is not",
    ),
}


@pytest.mark.parametrize("fault", BAD_ITEMS)
def test_a_write_that_fails_leaves_nothing_behind(tmp_path, fault):
    items, kind, match = BAD_ITEMS[fault]
    (tmp_path / "neighbor").write_text("stays")
    with pytest.raises(kind, match=match) as caught:
        write_folder(tmp_path / "new", items(), NAMES)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["neighbor"]


def test_a_folder_is_not_visible_before_it_is_complete(tmp_path):
    def checked_items() -> Iterator[Item]:
        for next_item in items_of_three():
            yield next_item
            # in the same folder, so that a rename completes it
            (partial,) = (tmp_path / "deep").iterdir()
            assert partial.name.startswith(".cnnvis-partial-")

    write_folder(tmp_path / "deep" / "new", checked_items(), NAMES)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["new"]
    assert count_readable(broden.open_folder(tmp_path / "deep" / "new")) == 3


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_existing_files_and_folders_are_not_overwritten(tmp_path, make):
    make(tmp_path / "old")
    assert_refused(
        "old already exists", write_folder, tmp_path / "old", _failing(ZeroDivisionError()), NAMES
    )
    assert [file.name for file in tmp_path.rglob("*")] == ["old"]
    assert (tmp_path / "old").is_file() == (make is Path.touch)


def test_names_that_the_format_cannot_hold_are_refused(tmp_path):
    def write(names: dict[str, list[str]], **options: int) -> None:
        write_folder(tmp_path / "new", items_of_three(), names, **options)

    assert_refused(
        "category 'shape': expected one of color", write, {"shape": ["round"]}, kind=InputError
    )
    assert_refused("65536 labels", write, {"object": ["x"] * 65536}, kind=InputError)
    with pytest.raises(InputError, match="label_step 0"):
        write(NAMES, label_step=0)
    assert not any(tmp_path.iterdir())


def test_the_same_images_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_scenes(tmp_path / name, 3, seed=5, train_fraction=0.2)
    one, two = (
        {p.relative_to(d): p.read_bytes() for p in d.rglob("*") if p.is_file()}
        for d in tmp_path.iterdir()
    )
    assert one == two
    assert [r.split for r in broden.open_folder(tmp_path / "one").records] == ["train"] * 2 + [
        "val"
    ]
