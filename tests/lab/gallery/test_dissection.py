"""The dissect command and its output folder: page, tables, images and arrays."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from cnnvis_lab import data, models
from cnnvis_lab.core import files
from cnnvis_lab.data import as_labelled, broden, images
from cnnvis_lab.data.broden import write_scenes
from cnnvis_lab.lab import cli, gallery, locks
from cnnvis_lab.methods import dissection

LAYERS = ["CL1.relu", "CL5.relu"]


class Page(HTMLParser):
    """The units of a page in their order, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.units: list[dict] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        row = dict(attrs)
        self.links += [row[key] for key in ("src", "href") if key in row]
        if tag == "article":
            self.units.append(row)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Twelve synthetic scenes as a folder."""
    write_scenes(tmp_path_factory.mktemp("data") / "world", 12, seed=2)
    return tmp_path_factory.getbasetemp() / "data0" / "world"


@pytest.fixture(scope="module")
def out(scenes, tmp_path_factory) -> Path:
    """The output of the command for that folder."""
    out = tmp_path_factory.mktemp("out") / "found"
    words = ["dissect", "alexnet_mini", "--layers", *LAYERS, "--data", str(scenes)]
    assert cli.main([*words, "--min-images", "2", "--top", "2", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def tables(scenes) -> dict:
    """The same dissection, computed by the library."""
    model = models.load("alexnet_mini")
    return dissection.dissect(model, broden.open_folder(scenes), LAYERS, top=2, min_images=2)


def test_units_are_sorted_by_iou_and_named_after_their_best_concept(out, tables):
    page = Page((out / "index.html").read_text())
    expected = [
        (float(table.best()[0][unit]), layer, unit)
        for layer, table in tables.items()
        for unit in range(len(table))
    ]
    matches = [re.search(r"units/(.+)-(\d{4}).jpg", link) for link in page.links]
    order = [(match[1], int(match[2])) for match in matches if match]
    by_iou = sorted(expected, key=lambda row: (-row[0], row[1:]))
    assert order == [(layer, unit) for _, layer, unit in by_iou]
    for (layer, unit), row in zip(order, page.units, strict=True):
        concept = tables[layer].concepts[int(tables[layer].best()[1][unit])]
        assert row["data-words"] == f"{concept.name} {concept.category}"
        assert (row["data-detector"] == "1") == (unit in tables[layer].detectors())


def test_the_page_fetches_nothing_and_the_targets_of_its_links_exist(out):
    text = (out / "index.html").read_text()
    assert "http" not in text and "url(" not in text and "@import" not in text
    for link in Page(text).links:
        assert (out / link).is_file(), link


def test_the_tables_have_the_columns_of_the_original(out, tables):
    for layer, table in tables.items():
        rows = list(csv.DictReader((out / f"{layer}.csv").read_text().splitlines()))
        assert [{k: str(v) for k, v in row.items()} for row in table.rows()] == rows
        assert list(rows[0])[:5] == ["unit", "category", "label", "score", "color-label"]


def test_the_arrays_hold_every_count(out, tables):
    for layer, table in tables.items():
        arrays = load_file(out / f"{layer}.safetensors")
        for name in ("intersection", "mask_pixels", "concept_pixels", "thresholds", "top_images"):
            assert torch.equal(arrays[name], getattr(table, name)), name
        with safe_open(out / f"{layer}.safetensors", "pt") as file:
            concepts = json.loads(file.metadata()["table"])["concepts"]
        assert [row[1] for row in concepts] == [concept.name for concept in table.concepts]


def test_a_units_images_are_top_activating_and_bright_where_it_is_active(out, scenes, tables):
    model, table = models.load("alexnet_mini"), tables["CL5.relu"]
    data = as_labelled(broden.open_folder(scenes), model.card.input_size)
    unit = int(table.best()[0].argmax())
    top = data.batch(table.top_images[unit].tolist())
    masks = dissection.unit_masks(model, top, "CL5.relu", table.thresholds, [unit], size=(64, 64))
    enlarged = masks[:, 0].repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None]
    expected = images.resize(torch.where(enlarged, top, 0.3 * top), gallery.dissection.IMAGE_SIZE)
    sheet = images.load(out / "units" / f"CL5.relu-{unit:04d}.jpg")
    size, step = gallery.dissection.IMAGE_SIZE, gallery.dissection.IMAGE_SIZE + 2
    drawn = torch.stack([sheet[:, :, i * step : i * step + size] for i in range(2)])
    bright = images.resize(top, gallery.dissection.IMAGE_SIZE)
    error, mirrored, undimmed = (
        (drawn - other.clamp(0, 1)).abs().mean() for other in (expected, expected.flip(3), bright)
    )
    assert masks.any() and error < 0.6 * mirrored and error < 0.2 * undimmed  # JPEG loses some


def test_the_folder_contains_only_results(out):
    names = {path.name for path in out.iterdir()}
    results = {"index.html", "concepts.png", "units", ".cnnvis-lock"}
    assert names == results | {
        f"{layer}.{kind}" for layer in LAYERS for kind in ("csv", "safetensors")
    }
    assert len(list((out / "units").iterdir())) == 48 + 80


def test_an_interrupted_dissection_resumes_with_the_same_command(
    scenes, tables, tmp_path, monkeypatch, capsys
):
    words = ["dissect", "alexnet_mini", "--layers", "CL5.relu", "--data", str(scenes)]
    words += ["--out", str(tmp_path / "found")]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gallery.dissection, "write_dissection", interrupted)
    assert cli.main(words) == 130
    (work,) = (tmp_path / "found").glob(".cnnvis-dissection-*")
    assert (work / "dissection.txt").is_file()
    monkeypatch.undo()
    assert cli.main(words) == 0 and (tmp_path / "found" / "index.html").is_file()
    assert not work.exists()
    images = tables["CL5.relu"].concept_images
    expected = f"{(images >= 10).sum()} of {len(images)} concepts occur in at least 10 images"
    assert expected in capsys.readouterr().out


def _dissect(scenes: Path, out: Path) -> int:
    words = ["dissect", "alexnet_mini", "--layers", "CL1", "--data", str(scenes)]
    return cli.main([*words, "--min-images", "2", "--top", "1", "--out", str(out)])


def test_folders_of_the_user_survive_a_dissection_and_its_failure(scenes, tmp_path, monkeypatch):
    theirs = [tmp_path / name / "thesis.txt" for name in ("work", ".cnnvis-dissection-mine")]
    for file in theirs:
        file.parent.mkdir()
        file.write_text("mine")

    def broken(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(gallery.dissection, "write_dissection", broken)
        assert _dissect(scenes, tmp_path) == 2
    left = {path.name for path in tmp_path.iterdir()} - {locks.LOCK}
    assert left == {file.parent.name for file in theirs}  # no scratch space after an error
    assert _dissect(scenes, tmp_path) == 0
    assert all(file.read_text() == "mine" for file in theirs)


def test_the_same_dissection_twice_gives_the_same_bytes_of_every_file(scenes, tmp_path):
    runs = []
    (tmp_path / "two" / "units").mkdir(parents=True)
    for folder in (tmp_path / "two", tmp_path / "two" / "units"):  # of a command that was killed
        (folder / f"{files.PARTIAL}x.jpg").write_bytes(b"half")
    for out in (tmp_path / "one", tmp_path / "two"):
        assert _dissect(scenes, out) == 0
        found = [file for file in out.rglob("*") if file.is_file()]
        runs.append({file.relative_to(out): file.read_bytes() for file in found})
    assert len(runs[0]) > 50 and runs[0] == runs[1]


def test_the_arrays_file_has_the_same_bytes_however_often_it_is_written(tables, tmp_path):
    written = set()
    for _ in range(8):  # two keys in random order would differ with probability 127/128
        gallery.dissection._save_arrays(tmp_path / "arrays", tables["CL1.relu"])
        written.add((tmp_path / "arrays").read_bytes())
    assert len(written) == 1


def test_two_dissections_into_one_folder_exclude_each_other(scenes, tmp_path, capsys):
    with locks.locked_folder(tmp_path):
        assert _dissect(scenes, tmp_path) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("cnnvis: another command is writing to") and errors.count("\n") == 1


def test_a_layers_name_never_leads_out_of_the_folder(tables, scenes, tmp_path):
    table = tables["CL1.relu"]
    none = torch.full_like(table.top_images, -1)
    table = replace(table, layer="../javascript:alert(1)//", top_images=none)
    out = tmp_path / "a" / "b"
    gallery.dissection.write_dissection(
        out,
        models.load("alexnet_mini"),
        data.as_labelled(broden.open_folder(scenes), 128),
        {table.layer: table},
    )
    assert {path.name for path in tmp_path.rglob("*.csv")} == {"..-javascript-alert-1---.csv"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert not any("javascript:" in link for link in Page((out / "index.html").read_text()).links)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("alexnet_mini", "Missing option '--layers'"),
        ("alexnet_mini --layers CL9 --data {world}", "no layer named 'CL9'; did you mean CL"),
        ("alexnet_mni --layers CL1", "did you mean alexnet_mini"),
        ("alexnet_mini --layers CL1 --data nowhere", "is not a Broden folder"),
        ("alexnet_mini --layers CL1 --data {world} --split tst", "no image of split 'tst'"),
        ("alexnet_mini --layers CL1 --data {world} --convention old", "no convention named 'old'"),
        ("alexnet_mini --layers CL1 --top 0", "'--top': 0 is not in the range 1<=x<="),
        ("alexnet_mini --layers CL1 --images -3", "'--images': -3 is not in the range 1<=x<="),
    ],
)
def test_mistakes_are_one_line_and_write_no_files(
    words, says, scenes, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["dissect", *words.format(world=scenes).split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and says in printed.err
    assert not list(tmp_path.iterdir())


def test_names_that_look_like_markup_are_escaped(scenes, tables):
    model = models.load("alexnet_mini")
    table = tables["CL5.relu"]
    odd = [concept._replace(name=f"<b>{concept.name}&") for concept in table.concepts]
    page = gallery.dissection._page(
        model,
        data.as_labelled(broden.open_folder(scenes), 128),
        {"CL5": replace(table, concepts=tuple(odd))},
        "original",
    )
    assert "<b>" not in page and "&lt;b&gt;" in page
