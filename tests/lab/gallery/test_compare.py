"""The comparison of two runs shows every difference on one page and fetches nothing."""

import json
import shutil

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image
from safetensors.torch import load_file
from support import tiny_notebooks

from cnnvis_lab.core import FileError
from cnnvis_lab.lab import cli, gallery, notebooks, records
from cnnvis_lab.lab.gallery import arrays, compare

FIGURES = {"01_first": "F10", "02_second": "F2", "03_third": "AM-x"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A dark and a bright run; the second notebook is in one, the third in the other only."""
    folder = tmp_path_factory.mktemp("runs")
    with tiny_notebooks.known_notebooks(folder, FIGURES):
        tiny_notebooks.render_without_kernel(folder / "dark", "01_first")
        tiny_notebooks.render_without_kernel(folder / "dark", "02_second")
        tiny_notebooks.render_without_kernel(
            folder / "bright", "01_first", SEED=3, NOTE="<b>bold</b>"
        )
        tiny_notebooks.render_without_kernel(folder / "bright", "03_third")
        _claim(folder / "dark", "01_first", "F10.1", 0.25, True)
        _claim(folder / "bright", "01_first", "F10.1", 0.75, False)
        _claim(folder / "bright", "01_first", "F10.2", None, None)
    return folder


def _claim(out, name, id, measured, holds):
    record = records.read_record(out, name)
    record["claims"][id] = {"measured": measured, "holds": holds, "note": ""}
    records.record_path(out, name).write_text(json.dumps(record))


@pytest.fixture
def page(runs, tmp_path, monkeypatch):
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(runs / "notebooks"))
    summary = gallery.compare.write(
        runs / "dark", runs / "bright", tmp_path / "a.html", notebooks.read_all()
    )
    arrays, summary = summary.split("\n")
    assert arrays.startswith("F10: 1 of 1 array differs, image by at most ")
    assert summary == (
        f"1 of the 6 claims of either run changed their verdict; see {tmp_path / 'a.html'}"
    )
    return (tmp_path / "a.html").read_text()


def test_figures_are_side_by_side_in_the_surveys_order(page):
    assert [tag["id"] for tag in tiny_notebooks.tags(page, "h3")] == ["F2", "F10", "AM-x"]
    images = tiny_notebooks.tags(page, "img")
    assert [image["alt"] for image in images] == [
        f'{name}: Some "noise"' for name in ("dark", "dark", "bright", "bright")
    ]
    assert all(image["src"].startswith("data:image/webp;base64,") for image in images)
    assert page.count('<p class="none">bright: missing</p>') == 1  # F2
    assert page.count('<p class="none">dark: missing</p>') == 1  # AM-x


def test_the_page_says_which_arrays_differ_and_by_how_much(page, runs):
    one, other = (
        load_file(runs / run / "arrays" / "F10.safetensors")["image"].double()
        for run in ("dark", "bright")
    )
    largest, relative = (one - other).abs().max(), (one - other).norm() / one.norm()
    (table,) = page.split('id="figures"')[1].split("<table>")[1:2]
    assert table.startswith("<caption>Arrays that differ: 1 of 1</caption>")
    assert f"<td>{largest:.3g}</td><td>{relative:.2g}</td>" in table
    assert page.count("Arrays that differ") == 1  # of F10, which both runs have


def test_arrays_are_compared_by_value_and_sorted_by_difference():
    nan, inf = float("nan"), float("inf")
    first = {"a": [1, 2.0], "b": [0, 0.0], "c": [3, 4.0], "d": [nan, inf], "e": [1.0], "x": [1.0]}
    second = {"a": [1, 2.0], "b": [0, 0.5], "c": [3, 4.5], "d": [nan, inf], "e": [[1.0]]}
    both = [{name: np.array(values) for name, values in run.items()} for run in (first, second)]
    found = arrays.differences(*both, ("one", "other"))
    assert [str(one) for one in found] == [
        "b by at most 0.5 (relative inf)",
        "e has shapes (1,) and (1, 1)",
        "x only in one",
        "c by at most 0.5 (relative 0.1)",
    ]
    lost = [{"n": np.array([1.0, inf, 2.0])}, {"n": np.array([1.0, nan, nan])}]
    (lost_difference,) = arrays.differences(*lost, ("one", "other"))
    assert str(lost_difference) == "n has 2 values that are not finite in one run, or not the same"
    beside = [{"n": np.array([3.0, 4.0, inf])}, {"n": np.array([3.0, 4.5, inf])}]
    assert str(arrays.differences(*beside, ("one", "other"))[0]).endswith("0.5 (relative 0.1)")
    counts = [{"n": np.array([0, 255], np.uint8)}, {"n": np.array([1, 254], np.uint8)}]
    assert arrays.differences(*counts, ("one", "other"))[0].largest == 1  # and does not wrap


def test_damaged_arrays_are_one_line(runs, tmp_path):
    shutil.copytree(runs / "dark", tmp_path / "dark")
    (tmp_path / "dark" / "arrays" / "F10.safetensors").write_bytes(b"damaged")
    known = notebooks.read_all(runs / "notebooks")
    with pytest.raises(FileError, match=r"F10\.safetensors cannot be read \(.+\); `cnnvis render`"):
        gallery.compare.write(tmp_path / "dark", runs / "bright", tmp_path / "a.html", known)


def test_figures_that_cannot_be_shown_are_named_or_left_out(runs, tmp_path):
    known = notebooks.read_all(runs / "notebooks")
    shutil.copytree(runs / "dark", out := tmp_path / "dark")
    for file in (out / "figures").iterdir():
        file.unlink()
    summary = gallery.compare.write(out, out, tmp_path / "a.html", known)
    assert summary.startswith("0 of the 4 claims")
    Image.new("L", (1, 20_000)).save(out / "figures" / "F10.png")  # higher than WebP can be
    with pytest.raises(FileError, match=r"F10\.png cannot be read as a PNG image"):
        gallery.compare.write(out, out, tmp_path / "a.html", known)


def test_figures_with_the_same_bytes_are_shown_once(runs, tmp_path):
    known = notebooks.read_all(runs / "notebooks")
    summary = gallery.compare.write(runs / "dark", runs / "dark", tmp_path / "a.html", known)
    page = (tmp_path / "a.html").read_text()
    assert summary.startswith("0 of the 4 claims") and "with the same parameters" in page
    assert [image["alt"][:16] for image in tiny_notebooks.tags(page, "img")] == [
        "the same in both"
    ] * 2


def test_only_parameters_that_differ_are_listed(page):
    section = page.split('id="parameters"')[1].split("<h2")[0]
    rows = section.split("<tr>")[2:]
    cells = [[cell.split("</td>")[0] for cell in row.split("<td>")[1:]] for row in rows]
    assert cells == [
        ["The tiny 01_first", "NOTE", *_code("'#plain'", "'<b>bold</b>'")],
        ["The tiny 01_first", "SEED", "<code>0</code>", "<code>3</code>"],
        ["The tiny 02_second", "", "drawn", "not drawn"],
        ["The tiny 03_third", "", "not drawn", "drawn"],
    ]


def _code(*values):
    return [f"<code>{escape(value)}</code>" for value in values]


def test_claims_have_both_numbers_and_changed_ones_come_first(page):
    changed, others = page.split('id="changed"')[1].split('id="figures"')
    assert changed.count("<tr><td>") == 1 and "<td>F10.1</td>" in changed
    assert "<td>0.25, holds</td><td>0.75, does not hold</td>" in changed
    assert "<strong>changed</strong>" in changed and "<strong>changed" not in others
    rows = {
        row.split("</td>")[0]: row for row in others.split('id="claims"')[1].split("<tr><td>")[1:]
    }
    assert set(rows) == {"F2.1", "F2.2", "F10.2", "AM-x.1", "AM-x.2"}
    assert "<td>not measured</td><td></td>" in rows["F10.2"]
    assert "<td>missing</td><td></td>" in rows["F2.1"]


def test_the_page_fetches_nothing_and_the_targets_of_its_links_exist(page):
    assert tiny_notebooks.fetched(page) == [] and tiny_notebooks.tags(page, "script") == []
    anchors = {tag["id"] for tag in tiny_notebooks.tags(page) if "id" in tag}
    assert all(link["href"][1:] in anchors for link in tiny_notebooks.tags(page, "a"))
    assert all(image["alt"] for image in tiny_notebooks.tags(page, "img"))


def test_the_same_folders_give_the_same_bytes(page, runs, tmp_path):
    known = notebooks.read_all(runs / "notebooks")
    gallery.compare.write(runs / "dark", runs / "bright", tmp_path / "b.html", known)
    assert (tmp_path / "b.html").read_text() == page


def test_the_summary_says_if_neither_run_measured_a_claim(page, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "_compared_claims", lambda *_: [])
    known, file = notebooks.read_all(), tmp_path / "b.html"
    assert gallery.compare.write(runs / "dark", runs / "dark", file, known) == (
        f"neither run has measured a claim; see {file}"
    )


def test_folders_with_the_same_name_are_shown_by_their_paths(tmp_path):
    one, other = tmp_path / "a" / "reports", tmp_path / "b" / "reports"
    assert gallery.compare._display_names(one, other) == (str(one), str(other))
    assert gallery.compare._display_names(one, tmp_path / "b") == ("reports", "b")


def test_the_command_writes_the_page_and_refuses_mistakes_in_one_line(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(runs / "notebooks"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", str(runs / "dark"), str(runs / "bright"), "--out", "c.html"]) == 0
    assert capsys.readouterr().out.endswith("changed their verdict; see c.html\n")
    assert [path.name for path in tmp_path.iterdir()] == ["c.html"]
    for words in (["nowhere", str(runs / "dark")], [str(runs / "dark"), "nowhere"]):
        assert cli.main(["compare", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "no results in nowhere" in error
    assert cli.main(["compare", "one"]) == 2
    with pytest.raises(FileError):
        gallery.require_records(tmp_path, notebooks.read_all())
