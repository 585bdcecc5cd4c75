"""The lessons stay readable: small cells, few parameters, uniform parts, one idea at a time."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from cnnvis_lab.lab import notebooks

KNOWN = notebooks.read_all()
README = (Path(__file__).parents[2] / "README.md").read_text()
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
INDICES = {"i", "j", "k", "n"}
HEADINGS = [
    "Question",
    "Setup",
    "The method",
    r"Figure F\d.*",
    "Further questions",
    "Explore",
    "Exercises",
    "Claims",
]


def _lesson(name: str) -> list:
    content = nbformat.read(KNOWN[name].path, as_version=4)
    return [cell for cell in content.cells if not notebooks.EXERCISE_TAGS & notebooks.tags(cell)]


def _code(name: str) -> list[str]:
    return [cell.source for cell in _lesson(name) if cell.cell_type == "code"]


def _lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def _nodes(source: str, kind: object) -> list:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kind)]


@pytest.mark.parametrize("name", KNOWN)
def test_a_lesson_is_short(name):
    cells = _code(name)
    assert len(cells) <= 14
    assert sum(map(_lines, cells)) <= 110
    assert {cell: _lines(cell) for cell in cells if _lines(cell) > 12} == {}
    assert len(KNOWN[name].parameters) <= 12


@pytest.mark.parametrize("name", KNOWN)
def test_cells_have_no_functions_and_few_comprehensions(name):
    for cell in _code(name):
        assert not _nodes(cell, ast.FunctionDef | ast.ClassDef | ast.Lambda), cell
        comprehensions = _nodes(cell, COMPREHENSIONS)
        assert len(comprehensions) <= 2, cell
        for outer in comprehensions:
            inner = [n for n in ast.walk(outer) if isinstance(n, COMPREHENSIONS) and n is not outer]
            assert not inner and len(outer.generators) == 1, cell


@pytest.mark.parametrize("name", KNOWN)
def test_names_are_words(name):
    stored = {
        node.id
        for cell in _code(name)
        for node in _nodes(cell, ast.Name)
        if isinstance(node.ctx, ast.Store)
    }
    assert {id for id in stored if len(id) == 1} <= INDICES


@pytest.mark.parametrize("name", KNOWN)
def test_each_package_is_imported_in_one_line(name):
    imports = [node for cell in _code(name) for node in _nodes(cell, ast.Import | ast.ImportFrom)]
    modules = [
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in imports
        for alias in node.names[:1]
    ]
    assert len(modules) == len({*modules})


@pytest.mark.parametrize("name", KNOWN)
def test_parts_are_the_same_in_all_notebooks(name):
    content = nbformat.read(KNOWN[name].path, as_version=4)
    texts = [cell.source for cell in content.cells if cell.cell_type == "markdown"]
    found = re.findall(r"^## (.+)$", "\n".join(texts), re.M)
    places = [
        next((n for n, known in enumerate(HEADINGS) if re.fullmatch(known, heading)), None)
        for heading in found
    ]
    assert None not in places, found
    assert places == sorted(places)
    required = {*range(len(HEADINGS))}
    if not any(figure.startswith("F") for figure in KNOWN[name].figures):
        required.discard(3)
    assert {*places} == required, found


@pytest.mark.parametrize("name", KNOWN)
def test_claims_are_measured_where_their_figure_is_drawn(name):
    drawn = [cell for cell in _code(name) if "run.figure(" in cell]
    measured = [cell for cell in _code(name) if "run.measure(" in cell]
    assert [cell for cell in measured if cell not in drawn] == []


@pytest.mark.parametrize("name", KNOWN)
def test_presets_and_replaced_names_fit_the_parameters(name):
    notebook = KNOWN[name]
    changes = README.split("## Changes")[1].split("\n## ")[0]
    row = next(line for line in changes.splitlines() if line.startswith(f"| `{name[:2]}` |"))
    assert {*re.findall(r"[A-Z_]+", row)} == {*notebook.replaced}
    assert not notebook.replaced.keys() & notebook.parameters.keys()
    for preset, values in notebook.presets.items():
        assert values.keys() <= notebook.parameters.keys(), preset
    used = {*re.findall(r"\bsizes\.(\w+)", notebook.code)}
    assert used == notebook.sizes.get("default", {}).keys()
