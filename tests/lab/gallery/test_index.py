"""The gallery shows every figure with its texts, command and claims, and fetches nothing."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import tiny_notebooks

from cnnvis_lab.core import FileError
from cnnvis_lab.data import images
from cnnvis_lab.lab import gallery, notebooks, records, render
from cnnvis_lab.lab.gallery import index, previews

FIGURES = {"01_first": "F10", "02_second": "F2", "03_third": "F2b"}


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory):
    """Three notebooks, one with a path as a parameter, and the results of two."""
    folder = tmp_path_factory.mktemp("drawn")
    with tiny_notebooks.known_notebooks(folder, FIGURES):
        tiny_notebooks.render_without_kernel(
            folder / "out", "01_first", NOTE=str(folder / "weights.bin")
        )
        tiny_notebooks.render_without_kernel(folder / "out", "02_second")
        record = records.read_record(folder / "out", "02_second")
        inside = records.PACKAGE / "models" / "weights" / "a.safetensors"
        record["inputs"] = {str(folder / "data" / "picture.png"): "abc", str(inside): "def"}
        record["claims"]["F2.2"] = {"measured": None, "holds": None, "note": "none is white"}
        records.record_path(folder / "out", "02_second").write_text(json.dumps(record))
        gallery.build(folder / "out", notebooks.read_all())
    return folder


@pytest.fixture
def out(drawn_once, tmp_path, monkeypatch):
    shutil.copytree(drawn_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    return tmp_path / "out"


@pytest.fixture
def known(out):
    return notebooks.read_all()


def test_figures_are_shown_by_notebook_as_thumbnails_and_large_with_their_texts(out):
    page = (out / "index.html").read_text()
    images = tiny_notebooks.tags(page, "img")
    assert [image["src"] for image in images] == ["figures/F10.png", "figures/F2.png"] * 2
    assert all((out / image["src"]).is_file() for image in images)
    assert [image["alt"] for image in images] == ["", "", *['Some "noise"'] * 2]
    ids = [tag["id"] for tag in tiny_notebooks.tags(page, "section")]
    assert ids == ["01_first", "02_second", "F10", "F2"]
    assert len({image["width"] for image in images}) == 1
    assert "<strong>The survey shows</strong> units of CaffeNet" in page
    assert page.count("Noise &lt; paint") == 2 and "Noise < paint" not in page


def test_further_figures_are_in_the_order_of_their_notebook(known):
    notebook = replace(known["01_first"], figures=("X-b", "X-a", "F3"))
    ordered = sorted(["F3", "X-a", "X-b"], key=lambda id: index._order_in_notebook(id, notebook))
    assert ordered == ["F3", "X-b", "X-a"]


def test_a_run_without_claims_shows_no_count_of_claims(out, known):
    for name in ("01_first", "02_second"):
        record = records.read_record(out, name) | {"claims": {}}
        records.record_path(out, name).write_text(json.dumps(record))
    gallery.build(out, known)
    page = (out / "index.html").read_text()
    assert "hold here" not in page and 'class="claim"' not in page and "Claims:" not in page


def _claims(page: str) -> list[tuple[str, str]]:
    """Return the id and the text of every claim on a page or a part of it."""
    items = [item.split("</li>")[0] for item in page.split('<li class="claim" ')[1:]]
    return [(item.split('class="id">')[1].split("<")[0], item) for item in items]


def test_every_figure_has_its_command_and_every_claim_its_verdict(out, known):
    page = (out / "index.html").read_text()
    assert page.count("<code>cnnvis render 02_second</code>") == 2
    assert page.count("<code>cnnvis render 01_first -p NOTE ") == 2
    listed, large = page.split('<section class="figure"', 1)
    for claims in (_claims(listed), _claims(large)):
        assert [id for id, _ in claims] == ["F10.1", "F10.2", "F2.1", "F2.2"]
    items = dict(_claims(listed))
    assert "none is white" in items["F2.2"] and ">not measured</strong>" in items["F2.2"]
    for row in gallery.claims_table(out, known)[:3]:
        item = items[row["id"]]
        assert f"<b>{row['measured']:.4g}</b>, expected " in item and "of one image" in item
        assert (">holds</strong>" in item) == row["holds"]
        assert ("does not hold" in item) != row["holds"]
    assert '<span class="not-measured">1 not measured</span>' in listed


def test_pages_fetch_nothing_and_the_targets_of_their_links_exist(out):
    pages = [out / "index.html", *(out / "notebooks").glob("*.html")]
    assert len(pages) == 3
    for path in pages:
        page = path.read_text()
        assert [target for target in tiny_notebooks.fetched(page) if "//" in target] == []
        assert not any("src" in script for script in tiny_notebooks.tags(page, "script"))
        assert tiny_notebooks.tags(page, "link") == []
        anchors = {tag["id"] for tag in tiny_notebooks.tags(page) if "id" in tag}
        for link in tiny_notebooks.tags(page, "a"):
            target = link["href"]
            exists = target[1:] in anchors if target[0] == "#" else (path.parent / target).is_file()
            assert exists, target


def test_links_lead_to_notebooks_and_from_each_figure_to_the_next(out):
    page = (out / "index.html").read_text()
    _, contents, *large = page.split("<nav ")
    links = [tag["href"] for tag in tiny_notebooks.tags(f"<nav {contents.split('</nav>')[0]}", "a")]
    assert links == ["#01_first", "#02_second"]
    around = [[tag["href"] for tag in tiny_notebooks.tags(f"<nav {one}", "a")][:3] for one in large]
    assert around == [["#F2", "#F2", "#at-F10"], ["#F10", "#F10", "#at-F2"]]


def test_no_heading_level_is_skipped_and_sections_have_names(out):
    page = (out / "index.html").read_text()
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(low - high <= 1 for high, low in pairwise(levels))
    names = {tag["id"] for tag in tiny_notebooks.tags(page, "h2") if "id" in tag}
    assert {tag["aria-labelledby"] for tag in tiny_notebooks.tags(page, "section")} <= names
    (skip, *_) = tiny_notebooks.tags(page, "a")
    assert skip == {"class": "skip", "href": "#figures"}
    assert len(tiny_notebooks.tags(page, "main")) == len(tiny_notebooks.tags(page, "header")) == 1


def test_the_header_says_how_many_claims_hold(out):
    top = (out / "index.html").read_text().split("</header>")[0]
    assert re.search(r"Of 4 claims \d hold here, \d do not, and 1 could not be measured", top)


def test_a_large_figure_is_shown_by_a_smaller_copy_that_is_made_once(out, known):
    gallery.build(out, known)
    noise = torch.rand(3, 150, 1500, generator=torch.Generator().manual_seed(0))
    images.to_pil(noise).save(out / "figures" / "F2.png")
    gallery.build(out, known)
    page = (out / "index.html").read_text()
    shown = tiny_notebooks.tags(page, "img")[1]
    assert shown["src"].startswith("previews/F2-") and shown["src"].endswith(".webp")
    assert (shown["width"], shown["height"]) == ("1400", "140")
    assert 'href="figures/F2.png"' in page
    with Image.open(out / shown["src"]) as copy:
        assert copy.size == (1400, 140)
        difference = np.asarray(copy.convert("RGB"), float).mean() - 255 * float(noise.mean())
    assert abs(difference) < 3
    assert (out / shown["src"]).read_bytes() == previews.shrink(out / "figures" / "F2.png")
    (out / shown["src"]).write_bytes(b"kept")
    gallery.build(out, known)
    assert (out / shown["src"]).read_bytes() == b"kept"


def test_the_files_of_a_template_are_all_that_it_extends_and_includes():
    names = {file.name for file in gallery.html.template_files("document.html")}
    assert names == {"document.html", "page.html", "style.css"}
    every = {file.name for file in gallery.html.TEMPLATES.iterdir()}
    pages = [name for name in every if name.endswith(".html")]
    assert every == {file.name for one in pages for file in gallery.html.template_files(one)}


def test_a_copy_is_made_again_when_what_makes_it_has_changed(out, known, monkeypatch):
    noise = torch.rand(3, 150, 1500, generator=torch.Generator().manual_seed(0))
    images.to_pil(noise).save(out / "figures" / "F2.png")
    gallery.build(out, known)
    (before,) = (out / "previews").iterdir()
    previews._maker_digest.cache_clear()
    monkeypatch.setattr(previews, "code_digest", lambda code: "another")
    gallery.build(out, known)
    (after,) = (out / "previews").iterdir()
    assert before.name != after.name
    previews._maker_digest.cache_clear()


def test_unused_copies_are_removed(out, known):
    old, theirs = (out / "previews" / f"F2-{end}.webp" for end in ("0123456789ab", "mine"))
    old.parent.mkdir(exist_ok=True)
    for file in (old, theirs):
        file.write_bytes(b"old")
    (out / "figures" / "F10.png").unlink()
    gallery.build(out, known)
    assert not old.exists() and theirs.read_bytes() == b"old"
    assert 'src="figures/F10.png"' in (out / "index.html").read_text()


def test_a_large_figure_that_is_no_image_is_one_line(out, known):
    for content in (b"\x89PNG\r\n\x1a\n" + bytes(200_000), bytes(200_000)):
        (out / "figures" / "F2.png").write_bytes(content)
        with pytest.raises(FileError, match=r"F2\.png cannot be read as a PNG image"):
            gallery.build(out, known)


def test_the_gallery_is_current_exactly_if_building_it_changes_nothing(out, known):
    noise = torch.rand(3, 150, 1500, generator=torch.Generator().manual_seed(0))
    images.to_pil(noise).save(out / "figures" / "F2.png")
    gallery.build(out, known)
    assert gallery.is_current(out, known)
    (copy,) = (out / "previews").iterdir()
    changes = [
        copy.unlink,
        lambda: (copy.with_name("F9-0123456789ab.webp")).write_bytes(b""),
        (out / "timings.json").unlink,
        lambda: (out / "index.html").write_text("other"),
        lambda: (out / "manifest.json").write_text("{}"),
    ]
    for change in changes:
        change()
        assert not gallery.is_current(out, known)
        gallery.build(out, known)
        assert gallery.is_current(out, known)


def test_claims_are_shown_with_their_figure_and_all_with_their_notebook(out, known):
    record = records.read_record(out, "01_first")
    record["figures"]["F10"]["claims"] = ["F10.2"]
    records.record_path(out, "01_first").write_text(json.dumps(record))
    gallery.build(out, known)
    page = (out / "index.html").read_text()
    listed, large = page.split('<section class="figure" id="F10"')
    assert [id for id, _ in _claims(large.split("<section")[0])] == ["F10.2"]
    placed = {id: '<a href="#F10">' in item for id, item in _claims(listed)[:2]}
    assert placed == {"F10.2": True, "F10.1": False}


def test_a_figure_outside_the_survey_is_introduced_by_its_question(out, known):
    assert "<strong>The question:</strong>" not in (out / "index.html").read_text()
    record = records.read_record(out, "01_first")
    record["figures"] = {"AM-x": record["figures"]["F10"]}
    records.record_path(out, "01_first").write_text(json.dumps(record))
    gallery.build(out, known)
    page = (out / "index.html").read_text()
    assert "<strong>The question:</strong> How dark is it?" in page


VOID = {"meta", "img", "br", "hr", "input", "link"}


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_of_the_gallery_is_closed(out):
    parser = _Balance()
    parser.feed((out / "index.html").read_text())
    assert parser.open == []


def test_formulas_are_embedded_in_the_page(out):
    page = (out / "notebooks" / "02_second.html").read_text()
    assert [svg["aria-label"] for svg in tiny_notebooks.tags(page, "svg")] == [r"\mu = \frac{1}{2}"]
    assert page.count("<path") == 1 and "$" not in page.split("</style>")[1]


def test_the_manifest_does_not_depend_on_the_machine(out, drawn_once):
    text = (out / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["01_first"]["parameters"]["NOTE"] == "weights.bin"
    inputs = {"picture.png": "abc", "cnnvis_lab/models/weights/a.safetensors": "def"}
    assert manifest["02_second"]["inputs"] == inputs
    assert str(drawn_once) not in text and '"/' not in text and "seconds" not in text
    for record in manifest.values():
        assert {"figures", "claims", "parameters", "key", "outputs", "environment"} <= set(record)
    assert json.loads((out / "timings.json").read_text()) == {"01_first": 1.5, "02_second": 1.5}


def test_a_gallery_built_again_has_the_same_bytes(out, known):
    files = ("index.html", "manifest.json", "timings.json")
    before = [(out / file).read_bytes() for file in files]
    for file in files:
        (out / file).write_text("damaged")
    gallery.build(out, known)
    assert [(out / file).read_bytes() for file in files] == before


def test_verify_names_every_changed_and_every_missing_file(out, known):
    assert gallery.verify(out, known) == []
    record = records.read_record(out, "01_first")
    for file in record["outputs"]:
        content = (out / file).read_bytes()
        for harm in (content[:-1], content + b" ", b""):
            (out / file).write_bytes(harm)
            assert gallery.verify(out, known) == [f"01_first: {file} is missing or changed"]
        (out / file).unlink()
        assert gallery.verify(out, known) == [f"01_first: {file} is missing or changed"]
        (out / file).write_bytes(content)
    (out / "figures" / "F2.png").unlink()
    (out / "arrays" / "F10.safetensors").unlink()
    assert len(gallery.verify(out, known)) == 2


@pytest.mark.parametrize("file", ["manifest.json", "records/01_first.json"])
def test_verify_reports_a_missing_or_changed_manifest_or_record(out, known, file):
    content = (out / file).read_text()
    for harm in (content.replace("0.25", "0.26"), content[:-9], ""):
        assert harm != content
        (out / file).write_text(harm)
        assert any("manifest.json" in line for line in gallery.verify(out, known))
    (out / file).unlink()
    assert any("manifest.json" in line for line in gallery.verify(out, known))


def test_verifying_a_folder_without_results_is_an_error(tmp_path, known):
    for folder in (tmp_path / "none", tmp_path, tmp_path / "out" / "index.html"):
        with pytest.raises(FileError, match="no results in"):
            gallery.verify(folder, known)


def test_the_claims_table_has_every_declared_claim_measured_or_not(out, known):
    rows = {row["id"]: row for row in gallery.claims_table(out, known)}
    assert set(rows) == {f"{figure}.{n}" for figure in FIGURES.values() for n in (1, 2)}
    measured = rows["F2.1"]["measured"]
    assert rows["F2.1"]["holds"] == (measured <= 0.5) and rows["F10.2"]["holds"] is False
    assert (rows["F2.2"]["holds"], rows["F2.2"]["note"]) == (None, "none is white")
    assert rows["F2.1"]["notebook"] == "02_second" and rows["F2.1"]["note"] == "of one image"
    assert rows["F2b.1"]["measured"] is None and rows["F2b.1"]["holds"] is None


@settings(max_examples=25, deadline=None)
@given(
    preset=st.sampled_from(notebooks.PRESETS),
    overrides=st.fixed_dictionaries(
        {},
        optional={
            "LEVEL": st.floats(allow_nan=False, allow_infinity=False),
            "SEED": st.integers(),
            "SIDES": st.lists(st.integers() | st.booleans() | st.text() | st.none(), max_size=3),
            "BRIGHT": st.booleans(),
            "NOTE": st.text().filter(lambda text: not text.startswith("-")),
        },
    ),
)
def test_the_command_under_a_figure_gives_the_same_parameters(drawn_once, preset, overrides):
    known = notebooks.read_all(drawn_once / "notebooks")
    (job,) = render.plan(["01"], known, preset=preset, overrides=overrides, out=drawn_once)
    words = shlex.split(job.command())
    assert words[:3] == ["cnnvis", "render", "01_first"]
    given_again = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    preset_again = words[words.index("--preset") + 1] if "--preset" in words else "default"
    jobs = [
        render.plan(["01"], known, preset=p, overrides=o, out=drawn_once)[0]
        for p, o in [(preset, overrides), (preset_again, given_again)]
    ]
    assert jobs[0].parameters == jobs[1].parameters and jobs[0].fingerprint == jobs[1].fingerprint
