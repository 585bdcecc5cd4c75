"""Broden folders are read as they were written; errors name the wrong row."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from support.broden_items import NAMES, RANDOM, assert_refused, count_readable, items_of_three

from cnnvis_lab import data
from cnnvis_lab.core import FileError, InputError
from cnnvis_lab.data import broden, images, scenes
from cnnvis_lab.data.broden import Item, reader, write_folder, write_scenes

untimed = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


SEED, COUNT = 5, 10


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A folder of three small images, in rows 2 to 4 of the index."""
    path = tmp_path_factory.mktemp("small") / "folder"
    write_folder(path, items_of_three(), NAMES)
    return path


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy of the folder that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "folder"))


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory) -> tuple[broden.Broden, list[scenes.SceneImage]]:
    path = tmp_path_factory.mktemp("world") / "folder"
    write_scenes(path, COUNT, seed=SEED)
    return broden.open_folder(path), [scenes.draw(SEED, index) for index in range(COUNT)]


def _numbers(path: Path) -> np.ndarray:
    """Decode a label map by the format's own rule."""
    with Image.open(path) as stored:
        assert stored.mode == "RGB"
        pixels = np.asarray(stored).astype(int)
    assert not pixels[..., 2].any()
    return pixels[..., 0] + 256 * pixels[..., 1]


def test_the_scenes_images_are_read_back_exactly(scene_folder):
    folder, scene_images = scene_folder
    assert len(folder) == COUNT and count_readable(folder) == COUNT
    for index, scene_image in enumerate(scene_images):
        assert np.array_equal(images.to_uint8(folder.read_image(index)), scene_image.image)


def test_the_scenes_labels_are_read_back_by_name_at_half_size(scene_folder):
    folder, scene_images = scene_folder
    categories = set()
    for index, scene_image in enumerate(scene_images):
        labels = folder.read_labels(index)
        assert folder.records[index].label_size == (64, 64)
        for category, planted in scene_image.labels.items():
            half = planted[::2, ::2]
            assert (category in labels) == bool(half.any())
            if not half.any():
                continue
            names = np.array(["-", *scenes.LABELS[category]])
            (layer,) = labels[category]
            for number in np.unique(layer[layer > 0]).tolist():
                label = folder.labels[number]
                assert label.category == category
                assert np.array_equal(layer == number, names[half] == label.name)
                categories.add(category)
            assert np.array_equal(layer == 0, half == 0)
    assert categories == set(data.CATEGORIES) - {"scene"} == set(scene_image.labels)


def test_the_scene_is_a_label_of_the_whole_image_and_fills_its_map(scene_folder):
    folder, scene_images = scene_folder
    for index, scene_image in enumerate(scene_images):
        (number,) = folder.records[index].labels["scene"]
        label = folder.labels[number]
        assert label.name == scenes.LABELS["scene"][scene_image.scene - 1]
        assert label.category == "scene"
        (layer,) = folder.read_labels(index)["scene"]
        assert layer.shape == (64, 64) and (layer == number).all()


def test_every_name_of_the_scenes_is_a_label_whose_frequency_is_its_number_of_images(scene_folder):
    folder, scene_images = scene_folder
    expected = Counter()
    for scene_image in scene_images:
        expected["scene", scenes.LABELS["scene"][scene_image.scene - 1]] += 1
        for category, planted in scene_image.labels.items():
            shown = np.unique(planted[::2, ::2]).tolist()
            expected.update((category, scenes.LABELS[category][n - 1]) for n in shown if n)
    named = [(category, name) for category in data.CATEGORIES for name in scenes.LABELS[category]]
    assert [(label.category, label.name) for label in folder.labels.values()] == named
    assert list(folder.labels) == list(range(1, len(named) + 1))
    for label in folder.labels.values():
        assert label.frequency == expected[label.category, label.name]


def test_splits_partition_the_images_in_order(scene_folder):
    folder, _ = scene_folder
    train, val = folder.split("train"), folder.split("val")
    assert (len(train), len(val)) == (7, 3)  # 0.7 of them, as in Broden
    both = sorted([*train.records, *val.records], key=lambda record: record.row)
    assert both == list(folder.records) == list(folder.split("all").records)
    assert {record.split for record in val.records} == {"val"}
    whole = folder.records.index(val.records[1])
    assert torch.equal(val.read_image(1), folder.read_image(whole))
    assert_refused("split 'test'.*it has train, val", folder.split, "test", kind=InputError)
    assert_refused("split 'val'.*it has train", train.split, "val", kind=InputError)


def test_label_numbers_above_255_are_read_back(tmp_path):
    kinds = ("texture", "part", "object")  # numbered in Broden's order, not in this one
    names = {kind: [f"{kind} {n}" for n in range(1, 401)] for kind in kinds}
    numbers = np.arange(1, 401).reshape(20, 20)
    labels = {"object": numbers, "part": numbers, "texture": 300}
    item = Item("all", np.zeros((20, 20, 3), np.uint8), "val", labels)
    write_folder(tmp_path / "many", [item], names, label_step=1)
    folder = broden.open_folder(tmp_path / "many")
    read = folder.read_labels(0)
    for kind, offset in (("object", 0), ("part", 400)):
        (layer,) = read[kind]
        assert np.array_equal(layer, numbers + offset)
        assert np.array_equal(layer, _numbers(tmp_path / "many" / "images" / f"all_{kind}.png"))
        assert folder.labels[int(layer[19, 0])].name == f"{kind} 381"
    assert folder.labels[int(read["texture"][0, 0, 0])].name == "texture 300"


SIZE = st.integers(1, 9)


@untimed
@given(data=st.data(), height=SIZE, width=SIZE, step=st.integers(1, 3), image_level=st.booleans())
def test_any_map_is_stored_at_every_nth_pixel_and_counted(
    tmp_path_factory, data, height, width, step, image_level
):
    maps = data.draw(arrays(np.uint8, (2, height, width), elements=st.integers(0, 3)))
    texture = data.draw(st.integers(0, 2)) if image_level else maps[0].clip(0, 2)
    pixels = data.draw(arrays(np.uint8, (height, width, 3)))
    items = [
        Item("one", pixels, "train", {"object": maps[0], "texture": texture}),
        Item("two", pixels[::-1], "val", {"object": maps[1]}),
    ]
    path = tmp_path_factory.mktemp("any") / "folder"
    write_folder(path, items, NAMES, label_step=step)
    folder = broden.open_folder(path)
    stored, layers = maps[:, ::step, ::step], []
    for index, small in enumerate(stored):
        assert np.array_equal(images.to_uint8(folder.read_image(index)), items[index].image)
        read = folder.read_labels(index).get("object", np.zeros((1, *small.shape), int))
        assert np.array_equal(read[0], small)  # objects are numbered first
        layers.append(read[0])
    with (path / "c_object.csv").open(newline="") as stream:
        rows = {int(row["number"]): row for row in csv.DictReader(stream)}
    for number in (1, 2, 3):
        fractions = [float((layer == number).mean()) for layer in layers]
        assert folder.labels[number].frequency == sum(fraction > 0 for fraction in fractions)
        assert float(rows[number]["coverage"]) == pytest.approx(sum(fractions), abs=1e-6)
    expected = np.broadcast_to(texture, (height, width))[::step, ::step].astype(int)
    expected = np.where(expected > 0, expected + len(NAMES["object"]) + len(NAMES["scene"]), 0)
    read = folder.read_labels(0).get("texture", np.zeros((1, *expected.shape), int))
    assert np.array_equal(read, expected[None])


def _table(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("cell", "coverages", "primary"),
    [
        # category: (the label's coverage, the number of images summed over labels)
        ("object(9);part(1)", {"object": (2, 100), "part": (1, 10)}, "part"),
        ("object(9);part(1)", {"object": (2, 10), "part": (1, 100)}, "object"),
        ("part(1);object(9)", {"object": (2, 10), "part": (3, 10)}, "part"),
        ("part(1);object(9)", {"object": (2, 10), "texture": (9, 10)}, "object"),
        ("part(1);object(9)", {}, "object"),  # without coverages the counts decide
        ("part(9);object(1)", {}, "part"),
        ("part", {}, "part"),
    ],
)
def test_a_labels_primary_category_is_the_one_of_which_it_covers_most(
    folder, cell, coverages, primary
):
    for file in folder.glob("c_*.csv"):
        file.unlink()
    _table(
        folder / "label.csv",
        "number,name,category",
        f"1,x,{cell}",
        *(f"{n},y,scene(1)" for n in (2, 3, 4)),
    )
    for category, (coverage, total) in coverages.items():
        rows = f"1,1,x,1,{coverage}", f"2,2,y,{total - 1},0"
        _table(folder / f"c_{category}.csv", "code,number,name,frequency,coverage", *rows)
    assert broden.open_folder(folder).labels[1].category == primary


def test_a_folder_laid_out_like_broden_1_0_is_read(folder):
    shutil.move(folder / "images" / "a.png", folder / "images" / "sub a.png")
    _table(
        folder / "label.csv",
        "\ufeffnumber,name,category,frequency,coverage,syns",
        "0,-,,0,0,",
        '1,"cat, tabby",object(3),3,1.5,cat;tabby',
        "2,dog,object(1);part(2),3,1.5,",
        "3,sky,object(1),1,0.5,",
        "4,street,scene(3),3,3,",
    )
    _table(
        folder / "index.csv",
        "image,split,ih,iw,sh,sw,object,part,scene",
        "sub a.png,val,6,8,3,4,a_object.png; 2;b_object.png,,0;4",
        "",
        "b.png,train,6,8,3,4,,,0",
    )
    read = broden.open_folder(folder)
    assert read.categories == ("object", "part", "scene") and count_readable(read) == 2
    assert list(read.labels) == [1, 2, 3, 4] and read.labels[1].name == "cat, tabby"
    assert [record.row for record in read.records] == [2, 4]
    labels = read.read_labels(0)
    assert labels["object"].shape == (3, 3, 4) and labels["scene"].tolist() == [[[4] * 4] * 3]
    assert np.array_equal(labels["object"][0], _numbers(folder / "images" / "a_object.png"))
    assert (labels["object"][1] == 2).all()
    assert np.array_equal(labels["object"][2], _numbers(folder / "images" / "b_object.png"))
    assert read.read_labels(1) == {}


def test_images_are_read_as_stored_so_that_they_match_their_maps(folder):
    stored, exif = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(folder / "images" / "a.png", exif=exif)
    read = broden.open_folder(folder).read_image(0)
    assert np.array_equal(images.to_uint8(read), stored)


def _set(folder: Path, file: str, row: int, column: str, cell: str) -> None:
    with (folder / file).open(newline="") as stream:
        rows = list(csv.reader(stream))
    rows[row - 1][rows[0].index(column)] = cell
    with (folder / file).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def _drop(folder: Path, file: str, column: str) -> None:
    with (folder / file).open(newline="") as stream:
        rows = list(csv.reader(stream))
    position = rows[0].index(column)
    with (folder / file).open("w", newline="") as stream:
        csv.writer(stream).writerows([*row[:position], *row[position + 1 :]] for row in rows)


def _keep_lines(folder: Path, file: str, count: int) -> None:
    lines = (folder / file).read_text().splitlines(keepends=True)
    (folder / file).write_text("".join(lines[:count]))


def _link(folder: Path, name: str, to: Path) -> None:
    (folder / "images" / name).unlink()
    (folder / "images" / name).symlink_to(to)


def _append(path: Path, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[2] += text
    _table(path, *lines)


BAD_TABLES = {
    "maps of 1e6x1e6": (
        lambda f: [_set(f, "index.csv", 2, column, "1000000") for column in ("sh", "sw")],
        "index.csv row 2, sh: 1000000000000 pixels; expected at most 67108864",
    ),
    "an image of 1e6x1e6": (
        lambda f: [_set(f, "index.csv", 2, column, "1000000") for column in ("ih", "iw")],
        "index.csv row 2, ih: 1000000000000 pixels; expected at most 67108864",
    ),
    "twenty large maps": (
        lambda f: [
            _set(f, "index.csv", 2, column, cell)
            for column, cell in (("sh", "2000"), ("sw", "2000"), ("scene", "1;" * 20))
        ],
        "index.csv row 2, scene: 20 labels of 2000x2000 pixels; expected 67108864 pixels at most",
    ),
    "no folder": (lambda f: shutil.rmtree(f), "not a Broden folder: it does not exist"),
    "no index": (lambda f: (f / "index.csv").unlink(), "lacks index.csv"),
    "no labels": (lambda f: (f / "label.csv").unlink(), "lacks label.csv"),
    "empty index": (lambda f: _keep_lines(f, "index.csv", 1), "index.csv lists no image"),
    "index of no bytes": (lambda f: (f / "index.csv").write_text(""), "lacks the column 'image'"),
    "no text": (
        lambda f: (f / "index.csv").write_bytes(b"\xff\xfe\x00"),
        "index.csv is not a CSV file",
    ),
    "too many cells": (
        lambda f: _append(f / "index.csv", ",1"),
        "index.csv row 3: 13 cells for 12 columns",
    ),
    "too few cells": (
        lambda f: _append(f / "label.csv", "\n5,x"),
        "label.csv row 4: 2 cells for 6 columns",
    ),
    "image missing": (
        lambda f: (f / "images" / "b.png").unlink(),
        "index.csv row 3, image: 'b.png' is not a file",
    ),
    "image not named": (
        lambda f: _set(f, "index.csv", 3, "image", ""),
        "index.csv row 3, image: '' is not a file",
    ),
    "map missing": (
        lambda f: (f / "images" / "b_object.png").unlink(),
        "index.csv row 3, object: 'b_object.png' is not a file",
    ),
    "image above the folder": (
        lambda f: _set(f, "index.csv", 3, "image", "../index.csv"),
        "index.csv row 3, image: '../index.csv' leaves the folder",
    ),
    "image beside the folder": (
        lambda f: [
            shutil.copytree(f / "images", f / "images2"),
            _set(f, "index.csv", 3, "image", "../images2/b.png"),
        ],
        "index.csv row 3, image: .* leaves the folder",
    ),
    "image at an absolute path": (
        lambda f: _set(f, "index.csv", 3, "image", str(f / "label.csv")),
        "index.csv row 3, image: .* leaves the folder",
    ),
    "map above the folder": (
        lambda f: _set(f, "index.csv", 3, "object", "b_object.png;../../folder/label.csv"),
        "index.csv row 3, object: .* leaves the folder",
    ),
    "image linked out of the folder": (
        lambda f: _link(f, "b.png", f / "label.csv"),
        "index.csv row 3, image: 'b.png' leaves the folder",
    ),
    "map linked out of the folder": (
        lambda f: _link(f, "b_object.png", f / "label.csv"),
        "index.csv row 3, object: 'b_object.png' leaves the folder",
    ),
    "zero byte in a path": (
        lambda f: _set(f, "index.csv", 3, "image", "b\0.png"),
        "index.csv row 3, image",
    ),
    "unknown number": (
        lambda f: _set(f, "index.csv", 3, "scene", "77"),
        "index.csv row 3, scene: label 77 is not in label.csv",
    ),
    "number given twice": (
        lambda f: _set(f, "label.csv", 3, "number", "1"),
        "label.csv row 3, number: 1 is given twice",
    ),
    "label number in words": (
        lambda f: _set(f, "label.csv", 3, "number", "two"),
        "label.csv row 3, number: 'two' is not a non-negative integer",
    ),
    "category without bracket": (
        lambda f: _set(f, "label.csv", 3, "category", "object(2"),
        "label.csv row 3, category: .* is not of the form",
    ),
    "frequency below zero": (
        lambda f: _set(f, "c_object.csv", 3, "frequency", "-1"),
        "c_object.csv row 3, frequency",
    ),
    "coverage without end": (
        lambda f: _set(f, "c_object.csv", 3, "coverage", "inf"),
        "c_object.csv row 3, coverage",
    ),
    "coverage that is no number": (
        lambda f: _set(f, "c_object.csv", 3, "coverage", "nan"),
        "c_object.csv row 3, coverage",
    ),
}


for _column in reader.SIZE_COLUMNS:
    for _cell in ("0", "-3", "2.5", "x", ""):
        BAD_TABLES[f"{_column} {_cell!r}"] = (
            lambda f, column=_column, cell=_cell: _set(f, "index.csv", 3, column, cell),
            f"index.csv row 3, {_column}",
        )


for _file, _columns in {
    "index.csv": ("image", "split", *reader.SIZE_COLUMNS),
    "label.csv": ("number", "name", "category"),
    "c_object.csv": ("number", "frequency", "coverage"),
}.items():
    for _column in _columns:
        BAD_TABLES[f"{_file} without {_column}"] = (
            lambda f, file=_file, column=_column: _drop(f, file, column),
            f"{_file} lacks the column '{_column}'",
        )


@pytest.mark.parametrize("fault", BAD_TABLES)
def test_the_error_for_a_bad_table_is_one_line_that_names_the_row(folder, fault):
    broden.open_folder(folder)
    damage, match = BAD_TABLES[fault]
    damage(folder)
    assert_refused(match, broden.open_folder, folder)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-25])


def _unknown(path: Path) -> None:
    pixels = np.zeros((3, 4, 3), np.uint8)
    pixels[1, 2] = 2, 1, 0
    Image.fromarray(pixels).save(path)


def _floats(path: Path) -> None:
    Image.fromarray(np.ones((6, 8), np.float32)).save(path, "TIFF")


# how a file is damaged, which is noticed only when the file is read
BAD_FILES = {
    "truncated image": ("b.png", _cut, "image: b.png: .*cannot be read"),
    "text for an image": ("b.png", lambda p: p.write_text("a\nb"), "image: b.png: .*not an image"),
    "image of floats": ("b.png", _floats, "image: b.png: .*no known value range"),
    "image of another size": (
        "b.png",
        lambda p: Image.new("RGB", (7, 6)).save(p),
        "image: b.png is 6x7, the row states 6x8",
    ),
    "truncated map": ("b_object.png", _cut, "object: label map b_object.png: .*cannot be read"),
    "map of another size": (
        "b_object.png",
        lambda p: Image.new("RGB", (8, 6)).save(p),
        "object: label map b_object.png is 6x8, the row states 3x4",
    ),
    "unknown number in a map": (
        "b_object.png",
        _unknown,
        "object: label map b_object.png contains 258, which is not in label.csv",
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_the_error_for_a_bad_file_is_one_line_that_names_the_row_when_it_is_read(folder, fault):
    name, damage, match = BAD_FILES[fault]
    read = broden.open_folder(folder)
    assert count_readable(read) == 3
    damage(folder / "images" / name)
    read, match = broden.open_folder(folder), f"index.csv row 3, {match}"
    assert_refused(match, count_readable, read)
    assert_refused(match, read.read_image if name == "b.png" else read.read_labels, 1)
    for index in (0, 2):  # the other images are readable as before
        read.read_image(index), read.read_labels(index)


def test_links_that_stay_below_the_folder_are_followed(folder, tmp_path):
    _link(folder, "b.png", folder / "images" / "a.png")
    assert torch.equal(*map(broden.open_folder(folder).read_image, (0, 1)))
    shutil.move(folder / "images", tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    _link(folder, "b.png", Path("a.png"))
    assert count_readable(broden.open_folder(folder)) == 3


CELLS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "../..",
        ";;",
        "0",
        "1;2",
        "99999",
        "-0",
        "1e9",
        "a.png",
        "a.png;a.png",
        '"',
        "\r\n",
        "part(1)",
    ]
)


@settings(untimed, max_examples=120)
@given(data=st.data())
def test_a_folder_with_any_text_in_a_cell_is_read_or_refused_in_one_line(
    written, tmp_path_factory, data
):
    path = tmp_path_factory.getbasetemp() / "any cell"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(written, path)
    file = data.draw(st.sampled_from(["index.csv", "label.csv", "c_object.csv"]))
    columns = (path / file).read_text().splitlines()[0].split(",")
    row, column = data.draw(st.integers(1, 4)), data.draw(st.sampled_from(columns))
    _set(path, file, row, column, data.draw(CELLS))
    try:
        assert count_readable(broden.open_folder(path)) == 3
    except FileError as error:
        assert "\n" not in str(error) and ".csv" in str(error)


@pytest.fixture(scope="module")
def real(shared_data) -> broden.Broden:
    return broden.open_folder(shared_data / "broden_real_mini")


def test_all_real_images_are_readable(real):
    assert count_readable(real) == len(real) == 391
    assert {record.image_size for record in real.records} == {(224, 224)}
    assert {record.label_size for record in real.records} == {(112, 112)}
    assert len(real.split("train")) + len(real.split("val")) == 391


def test_real_labels_are_in_the_categories_that_their_source_states(real):
    assert Counter(label.category for label in real.labels.values()) == {
        "object": 90, "part": 14, "scene": 1, "texture": 10,
    }  # fmt: skip
    used = {name for record in real.records for name, entries in record.labels.items() if entries}
    assert used == {"object", "part", "scene", "texture"}  # color and material are empty


def test_real_labels_occur_in_as_many_images_as_their_table_states(real):
    shown = Counter()
    for index in range(len(real)):
        layers = real.read_labels(index).values()
        shown.update(set().union(*(np.unique(layer).tolist() for layer in layers)) - {0})
    assert shown == {number: label.frequency for number, label in real.labels.items()}
