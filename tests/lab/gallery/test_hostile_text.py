"""Text from foreign files is shown on pages as text, whichever field it stands in."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat import v4
from support import tiny_notebooks

from cnnvis_lab.core import Float
from cnnvis_lab.data import Label
from cnnvis_lab.lab import gallery, notebooks, records
from cnnvis_lab.lab.course import table
from cnnvis_lab.lab.course.hand_ins import Mark
from cnnvis_lab.lab.gallery import html
from cnnvis_lab.lab.notebooks import Claim
from cnnvis_lab.lab.verdicts import Verdict, Verdicts
from cnnvis_lab.methods.dissection import LayerTable

MARKUP = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' autofocus onfocus='alert(3)"
)
NAME = "01_first"


class _Elements(HTMLParser):
    """Collects the tags of a page with the names of their attributes, and its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src")]


def _assert_inert(page: str, plain: str) -> None:
    """Check that a page has the elements of the one with plain text, and shows the markup."""
    hostile, harmless = _Elements(page), _Elements(plain)
    assert hostile.tags == harmless.tags
    assert not any(address.lower().startswith("javascript:") for address in hostile.addresses)
    assert "alert(1)" in page and "<script>alert" not in page and "<img src=x" not in page


def test_every_template_escapes_unless_it_says_so():
    texts = {path.name: path.read_text() for path in Path(html.__file__).parent.rglob("*.html")}
    assert len(texts) >= 5
    assert {name for name, text in texts.items() if "| safe" in text} == {"document.html"}
    assert html._environment().autoescape is True


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Results of one notebook."""
    with tiny_notebooks.known_notebooks(tmp_path, {NAME: "F1"}):
        tiny_notebooks.render_without_kernel(tmp_path / "out", NAME)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    return tmp_path


def _fields(record: dict) -> list[tuple]:
    """Return the places of all texts that a record may contain, as paths of keys."""
    figure = ("figures", "F1")
    return [
        *[(*figure, key) for key in ("caption", "alt", "question", "sha256")],
        ("command",), ("preset",), ("claims", "F1.1", "note"), ("parameters", "NOTE"),
        ("parameters", "MODEL"),
    ]  # fmt: skip


def _pages(folder: Path) -> list[str]:
    known = notebooks.read_all()
    gallery.build(folder / "out", known)
    other = folder / "other"
    shutil.copytree(folder / "out", other, dirs_exist_ok=True)
    file = records.record_path(other, NAME)
    record = json.loads(file.read_text())
    record["parameters"]["NOTE"] = "another"
    file.write_text(json.dumps(record))
    gallery.compare.write(folder / "out", other, folder / "compared.html", known)
    return [(folder / name).read_text() for name in ("out/index.html", "compared.html")]


def _with(folder: Path, place: tuple, text: str) -> list[str]:
    file = records.record_path(folder / "out", NAME)
    record = json.loads(file.read_text())
    record["claims"]["F1.1"] = {"measured": 0.5, "holds": True, "note": ""}
    part = record
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = text
    file.write_text(json.dumps(record))
    return _pages(folder)


@pytest.mark.parametrize("place", _fields({}), ids="-".join)
def test_markup_in_any_field_of_a_record_is_text_on_the_gallery_and_the_comparison(place, folder):
    plain = _with(folder, place, "plain")
    pages = _with(folder, place, MARKUP)
    shown = 0
    for page, harmless in zip(pages, plain, strict=True):
        assert _Elements(page).tags == _Elements(harmless).tags
        assert "<script>alert" not in page and "<img src=x" not in page
        shown += "alert(1)" in page
    assert shown or place[-1] == "sha256"


def test_markup_as_the_id_of_a_figure_or_a_claim_is_text(folder):
    file = records.record_path(folder / "out", NAME)
    record = json.loads(file.read_text())
    for id in ("plain", MARKUP):
        record["figures"] = {id: record["figures"].popitem()[1]}
        file.write_text(json.dumps(record))
        pages = _pages(folder)
        if id == "plain":
            plain = pages
    for page, harmless in zip(pages, plain, strict=True):
        _assert_inert(page, harmless)


@pytest.mark.parametrize("field", ["id", "text", "source", "quantity"])
def test_markup_in_a_claim_is_text(field):
    claim = Claim("C1", "says", "Sec. 1", "mean", ">= 0.5")
    for note in ("", MARKUP):
        plain = Verdicts([Verdict(claim, 0.4, "x" if note else "")])
        hostile = Verdicts([Verdict(replace(claim, **{field: MARKUP}), 0.4, note)])
        for form in (Verdicts.to_html, Verdicts._repr_html_):
            _assert_inert(form(hostile), form(plain))
    _assert_inert(plain.to_html(MARKUP), plain.to_html("caption"))


@pytest.mark.parametrize("field", ["title", "text", "formula", "stdout", "repr", "alt", "error"])
def test_markup_in_an_executed_notebook_is_text(field):
    def page(text: str) -> str:
        chosen = {name: text if name == field else "plain" for name in ("stdout", "repr", "alt")}
        outputs = [
            v4.new_output("stream", text=chosen["stdout"]),
            v4.new_output("execute_result", {"text/plain": chosen["repr"]}),
            v4.new_output("display_data", {"image/png": "AAAA"},
                          metadata={"image/png": {"alt": chosen["alt"]}}),
            v4.new_output("error", ename="E", evalue="", traceback=[text * (field == "error")]),
        ]  # fmt: skip
        source = text if field == "text" else "x = 1"
        formula = f"$\\unknown {text}$" if field == "formula" else "words"
        cells = [v4.new_code_cell(source, outputs=outputs), v4.new_markdown_cell(f"`{formula}`")]
        notebook = v4.new_notebook(cells=cells)
        assert isinstance(notebook, nbformat.NotebookNode)
        return gallery.notebook.notebook_page(notebook, text if field == "title" else "plain")

    hostile = page(MARKUP)
    assert "<script>alert" not in hostile and "<img src=x" not in hostile and "alert(" in hostile


def _table(name: str, category: str, layer: str) -> LayerTable:
    none = torch.full((2, 1), -1)
    counts: Float[torch.Tensor, "units concepts"] = torch.ones(2, 1)
    return LayerTable(
        layer=layer,
        concepts=(Label(1, name, category, 3),),
        thresholds=torch.zeros(2),
        intersection=counts.long(),
        mask_pixels=counts.long(),
        concept_pixels=torch.ones(1).long(),
        concept_images=torch.full((1,), 20),
        min_iou=0.04,
        strict=False,
        min_images=1,
        top_values=none.float(),
        top_images=none,
    )


@pytest.mark.parametrize("field", ["name", "category", "layer", "model", "convention"])
def test_markup_in_any_field_of_a_dissection_is_text(field):
    def page(text: str) -> str:
        given = {name: text if name == field else "plain" for name in ("name", "category", "layer")}
        table = _table(**given)

        class Named:
            card = type("Card", (), {"name": text if field == "model" else "plain"})

        convention = text if field == "convention" else "original"
        make = getattr(gallery.dissection._page, "__wrapped__", gallery.dissection._page)
        return make(Named(), range(3), {table.layer: table}, convention)

    _assert_inert(page(MARKUP), page("plain"))


@pytest.mark.parametrize("field", ["network", "layer", "concept", "category", "folder"])
def test_markup_in_any_field_of_an_atlas_is_text_on_the_comparison(field, tmp_path):
    def page(text: str) -> str:
        fields = ("network", "layer", "concept", "category", "folder")
        given = {name: text if name == field else "plain" for name in fields}
        unit = [0, "", 0.5, 1.0, given["concept"], given["category"], 0.2, 1, "", 0]
        sprite = ["units/a.webp", 8, 8, 8, 4]
        layer = {"name": given["layer"], "units": [unit], "sprites": [sprite], "first": [0]}
        folder = tmp_path / given["folder"].replace("/", "|")
        folder.mkdir(exist_ok=True)
        summary = {"network": given["network"], "layers": [layer]}
        (folder / "atlas.json").write_text(json.dumps(summary))
        file = gallery.atlas.write_comparison(folder, folder, tmp_path / "compared.html")
        return file.read_text()

    hostile, plain = page(MARKUP), page("plain")
    if field == "folder":  # it is in addresses only, where it is encoded
        assert _Elements(hostile).tags == _Elements(plain).tags and "alert(1)" not in hostile
    else:
        _assert_inert(hostile, plain)


@pytest.mark.parametrize("field", ["student", "exercise", "result", "file"])
def test_markup_in_any_field_of_marks_is_text(field, tmp_path):
    def page(text: str) -> str:
        mark = Mark("plain", "plain", "plain", 0.1, "plain")
        table.write_table([mark._replace(**{field: text})], tmp_path)
        return (tmp_path / "marks.html").read_text()

    _assert_inert(page(MARKUP), page("plain"))
