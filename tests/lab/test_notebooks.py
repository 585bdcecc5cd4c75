"""What notebooks declare, read without running them, and their pages."""

import json
import operator
import re
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.textpath import TextPath
from nbformat import v4
from support import tiny_notebooks

from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.lab import gallery, notebooks, parameters
from cnnvis_lab.lab.notebooks import Claim
from cnnvis_lab.lab.parameters import Parameter

KINDS = {"int": 3, "float": 0.5, "str": "word", "bool": True, "list": [1, "a"]}
WRONG = {
    "int": ["1.5", "true", "x", "", "[1]"],
    "float": ["x", "true", "1,5", "nan", ""],
    "bool": ["1", "yes", "", "0.0"],
    "list": ["1", "(1, 2)", "[1", "{[1]: 2}", ""],
}


def test_a_notebook_declares_its_title_figures_needs_presets_and_claims(tmp_path):
    tiny_notebooks.write(tmp_path, "01_first")
    read = notebooks.read(
        tiny_notebooks.write(tmp_path, "02_second", figure="F2", needs=("01_first",))
    )
    assert (read.name, read.title, read.minutes) == ("02_second", "The tiny 02_second", 0.1)
    assert (read.figures, read.needs) == (("F2",), ("01_first",))
    assert read.presets == {"smoke": {"SIDES": [1, 2]}}
    assert [claim.id for claim in read.claims] == ["F2.1", "F2.2"]
    assert read.claims[0].text == "Images are *dark* & < white"
    assert (read.claims[1].source, read.claims[1].expected) == ("Fig. 2", ">= 0.99")
    assert list(notebooks.read_all(tmp_path)) == ["01_first", "02_second"]


def test_notebooks_are_known_by_their_declared_names(tmp_path):
    """Copies, renamed, empty, damaged and hidden files beside a notebook stop nothing."""
    first = tiny_notebooks.write(tmp_path, "01_first")
    damaged = first.read_text().replace("LEVEL: float = 0.25", "LEVEL: float = None")
    (tmp_path / "01_first-Copy1.ipynb").write_text(damaged)
    tiny_notebooks.write(tmp_path, "02_second").rename(tmp_path / "Homework (2).ipynb")
    for name in ("Untitled.ipynb", "._01_first.ipynb"):
        (tmp_path / name).write_bytes(b"\0\5" if name[0] == "." else b"")
    for name in ("cut.ipynb", "02_second-Copy1.ipynb"):
        (tmp_path / name).write_text('{"cells": [')
    (tmp_path / "folder.ipynb").mkdir()
    known = notebooks.read_all(tmp_path)
    assert {name: found.path.name for name, found in known.items()} == {
        "01_first": "01_first.ipynb",
        "02_second": "Homework (2).ipynb",
    }
    assert [found.name for found in known.values()] == [*known]
    commented = [v4.new_code_cell("# lab.begin('x')\nrun = lab.begin(\n  'y', globals())")]
    assert notebooks.declared_name(commented) == "y" and notebooks.declared_name([]) == ""


def test_parameters_have_a_type_a_default_and_a_comment(tmp_path):
    read = notebooks.read(tiny_notebooks.write(tmp_path, "01_first")).parameters
    assert read["LEVEL"] == Parameter(
        "LEVEL", "float", 0.25, "gray of the image, which is its mean"
    )
    assert read["NOTE"] == Parameter("NOTE", "str", "#plain", "a word")
    assert read["SIDES"].default == [4, 5] and read["BRIGHT"].default is False


@pytest.mark.parametrize(
    "line",
    [
        "STEPS = 64",
        "steps: int = 64",
        "STEPS: int = 6.5",
        "STEPS: int = True",
        "STEPS: int | None = None",
        "STEPS: int",
        "STEPS: int = 8 * 8",
        "STEPS: tuple = (1, 2)",
        "STEPS: 'int' = 64",
        "import torch",
        "STEPS: int = (",
        "  STEPS: int = 1",
        "RUN: str = '''",
    ],
)
def test_an_invalid_parameters_cell_is_refused_in_one_line(tmp_path, line):
    path = tiny_notebooks.write(tmp_path, "01_first", parameters=f'OUT: str = ""\n{line}\n')
    with pytest.raises(FileError, match=r"^01_first.ipynb: parameter[^\n]*$"):
        notebooks.read(path)


@pytest.mark.parametrize(
    "row",
    [
        "| C1 | says | source | quantity |",
        "| C1 | says | source | quantity | about 0.5 |",
        "| C1 | says | source | quantity | >= high |",
        "| C1 | says | source | quantity | >= 1 | more |",
    ],
)
def test_a_claim_without_a_numeric_bound_is_refused(tmp_path, row):
    path = tiny_notebooks.write(tmp_path, "01_first", claims=tiny_notebooks.CLAIMS + "\n" + row)
    with pytest.raises(FileError, match="claim 'C1': expected"):
        notebooks.read(path)


@settings(deadline=None)
@given(
    sign=st.sampled_from([">=", "<=", ">", "<"]),
    bound=st.decimals(-99, 99, places=2),
    measured=st.floats(-100, 100),
)
def test_a_claim_holds_exactly_if_its_comparison_does(sign, bound, measured):
    claim = Claim("C1", "says", "source", "quantity", f"{sign} {bound}")
    compare = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}[sign]
    assert claim.holds(measured) == compare(measured, float(bound))
    assert claim.holds(float(bound)) == (sign in (">=", "<="))


def test_presets_override_defaults_and_the_user_overrides_both(tmp_path):
    read = notebooks.read(tiny_notebooks.write(tmp_path, "01_first"))
    assert read.resolve("default", {})["SIDES"] == [4, 5]
    assert read.resolve("smoke", {})["SIDES"] == [1, 2]
    assert read.resolve("smoke", {"SIDES": [3, 3], "LEVEL": 1})["SIDES"] == [3, 3]
    assert set(read.resolve("paper", {})) == set(read.parameters)
    with pytest.raises(NameNotFound, match="did you mean smoke"):
        read.resolve("smoked", {})
    with pytest.raises(NameNotFound, match="did you mean LEVEL"):
        read.resolve("smoke", {"LEVL": 1.0})
    with pytest.raises(InputError, match=r"SIDES = 4, expected list"):
        read.resolve("smoke", {"SIDES": 4})


@pytest.mark.parametrize("kind", KINDS)
def test_command_line_text_is_parsed_as_the_parameters_type(kind):
    parameter = Parameter("X", kind, KINDS[kind], "")
    text = KINDS[kind] if kind == "str" else json.dumps(KINDS[kind])
    assert parameters.parse_value(parameter, text) == KINDS[kind]
    assert parameter.accepts(KINDS[kind])
    for wrong in WRONG.get(kind, []):
        with pytest.raises(InputError, match=f"^X = .*: expected {kind}, such as "):
            parameters.parse_value(parameter, wrong)


@settings(deadline=None)
@given(kind=st.sampled_from(list(KINDS)), text=st.text(max_size=12))
def test_any_text_is_either_a_valid_value_or_refused(kind, text):
    parameter = Parameter("X", kind, KINDS[kind], "")
    try:
        value = parameters.parse_value(parameter, text)
    except InputError:
        return
    assert parameter.accepts(value)


def test_a_notebook_is_found_by_its_name_or_an_unambiguous_beginning(tmp_path):
    for name in ("01_first", "02_second", "02_second_more"):
        tiny_notebooks.write(tmp_path, name)
    known = notebooks.read_all(tmp_path)
    assert notebooks.find("01", known).name == "01_first"
    assert notebooks.find("notebooks/01_first.ipynb", known).name == "01_first"
    # An exact name takes precedence over a prefix.
    assert notebooks.find("02_second", known).name == "02_second"
    for given_name, hint in [("02", "known: 02_second, 02_second_more"), ("01_frist", "01_first")]:
        with pytest.raises(NameNotFound, match=hint):
            notebooks.find(given_name, known)
    with pytest.raises(NameNotFound):
        notebooks.find("", known)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": 5, "metadata": {}}', "\x00"])
def test_a_file_that_is_not_a_notebook_is_named_in_the_error(tmp_path, text):
    (tmp_path / "01_odd.ipynb").write_text(text)
    with pytest.raises(FileError, match=r"01_odd.ipynb is not a notebook"):
        notebooks.read_all(tmp_path)


def test_notebooks_without_a_parameters_cell_are_ignored(tmp_path):
    tiny_notebooks.write(tmp_path, "01_first")
    scratch = tiny_notebooks.write(tmp_path, "Untitled", tags="")
    assert list(notebooks.read_all(tmp_path)) == ["01_first"]
    with pytest.raises(FileError, match="0 cells tagged parameters"):
        notebooks.read(scratch)


def test_the_error_on_a_missing_folder_names_the_variable_to_set(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "none"))
    with pytest.raises(FileError, match="set CNNVIS_NOTEBOOKS"):
        notebooks.read_all()


def test_the_source_depends_on_cells_and_metadata_but_not_on_outputs(tmp_path):
    path = tiny_notebooks.write(tmp_path, "01_first")
    before = notebooks.read(path).source
    changes = {
        "text": lambda n: n.cells[3].update(source="1 + 1"),
        "tag": lambda n: n.cells[6].metadata.update(tags=[]),
        "kind": lambda n: n.cells[3].update(cell_type="markdown"),
        "order": lambda n: n.cells.reverse(),
        "figures": lambda n: n.metadata.cnnvis.update(figures=["F9"]),
        "preset": lambda n: n.metadata.cnnvis.update(presets={}),
    }
    for change in changes.values():
        notebook = nbformat.read(path, as_version=4)
        change(notebook)
        other = tmp_path / "other.ipynb"
        other.write_text(json.dumps(notebook))
        assert notebooks.read(other).source != before
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].outputs = [v4.new_output("stream", text="seen")]
    notebook.cells[3].execution_count = 7
    notebook.metadata["widgets"] = {}
    nbformat.write(notebook, path)
    assert notebooks.read(path).source == before


# --- pages


def _svg(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def _points(svg: ElementTree.Element) -> np.ndarray:
    numbers = re.findall(r"-?\d+\.\d+", svg[0].get("d"))
    return np.array(numbers, float).reshape(-1, 2)


@pytest.mark.parametrize(
    "tex",
    [r"\alpha", r"\frac{\partial a_j}{\partial x} < 1", r"\hat{x}'_{i} > 0", r"\sum_{i=1}^n x_i^2"],
)
@pytest.mark.parametrize("displayed", [False, True])
def test_a_formula_is_drawn_as_matplotlibs_outline_with_its_tex_as_label(tex, displayed):
    svg = _svg(gallery.notebook.formula_svg(tex, displayed))
    assert svg.get("role") == "img" and svg.get("aria-label") == tex
    assert ("displayed" in svg.get("class")) == displayed
    outline = TextPath((0, 0), f"${tex}$", size=19 if displayed else 16)
    expected = outline.vertices[outline.codes != outline.CLOSEPOLY]
    assert np.allclose(_points(svg) * [1, -1], expected, atol=0.006)
    assert svg[0].get("d").count("Z") == (outline.codes == outline.CLOSEPOLY).sum()
    x, y, width, height = map(float, svg.get("viewBox").split())
    inside = (_points(svg) >= [x, y]) & (_points(svg) <= [x + width, y + height])
    assert inside.all() and width > 2 and height > 2


@pytest.mark.parametrize("tex", [r"\begin{matrix} a & b \end{matrix}", r"\nosuch < x", r"\frac{1}"])
def test_a_formula_that_mathtext_cannot_draw_is_shown_as_source(tex):
    code = ElementTree.fromstring(gallery.notebook.formula_svg(tex))
    assert code.tag == "code" and code.text == tex


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("mean $x$ and $y_1$", ["x", "y_1"]),
        ("$$\n\\sum_i\nx_i\n$$", ["\\sum_i\nx_i"]),
        ("$$a$$ then $b$.", ["a", "b"]),
        ("between $5 and $6", []),
        ("an escaped \\$x\\$ price", []),
        ("`$x$` and ``$y$``", []),
        ("```\n$HOME = $PATH\n```\n$z$", ["z"]),
        ("$ $ and $$ $$", []),
        ("", []),
    ],
)
def test_only_text_between_dollars_is_a_formula(text, formulas):
    rendered = gallery.notebook.render_formulas(text)
    assert re.findall(r'aria-label="([^"]*)"', rendered) == formulas
    if not formulas:
        assert rendered == text


def _executed() -> nbformat.NotebookNode:
    image = v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo="}, metadata={"image/png": {"alt": 'A "b"'}}
    )
    printed = v4.new_output("stream", text="<script>alert(1)</script>")
    text = "# Title\n\nThe mean $x^2$ of `$a$`.\n\n| a | b |\n| - | - |\n| $y$ | [a](https://b.c) |"
    cells = [
        v4.new_markdown_cell(text, id="a"),
        v4.new_code_cell("x = 1 < 2", id="b", execution_count=1, outputs=[image, printed]),
    ]
    return v4.new_notebook(cells=cells)


def test_an_executed_notebook_becomes_one_page_that_fetches_nothing():
    notebook = _executed()
    page = gallery.notebook.notebook_page(notebook, "A < B")
    assert "<title>A &lt; B</title>" in page and "<table>" in page
    assert re.findall(r'aria-label="([^"]*)"', page) == ["x^2", "y"]
    assert "<code>$a$</code>" in page
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert tiny_notebooks.fetched(page) == []
    (image,) = tiny_notebooks.tags(page, "img")
    assert image == {"src": "data:image/png;base64,iVBORw0KGgo=", "alt": 'A "b"'}
    assert page == gallery.notebook.notebook_page(_executed(), "A < B")
    assert notebook == _executed()  # the notebook itself is not changed
