"""Exercises: stubs fail, solutions pass, copies have none, and no render depends on them."""

import ast
import json
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from support import tiny_notebooks

from cnnvis_lab import lab
from cnnvis_lab.core import FileError, InputError, NameNotFound
from cnnvis_lab.lab import cli, notebooks, render
from cnnvis_lab.lab.course import exercises, student
from cnnvis_lab.lab.render import fingerprint

KNOWN = notebooks.read_all()
pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def _cells(name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(KNOWN[name].path, as_version=4).cells


def _tagged(name: str, tag: str, kind: str = "code") -> list[nbformat.NotebookNode]:
    return [c for c in _cells(name) if c.cell_type == kind and tag in notebooks.tags(c)]


def _shown(source: str, names: dict) -> object:
    """Run a cell; return what its last line shows."""
    *lines, last = ast.parse(source).body
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("name", KNOWN)
def test_a_notebook_ends_with_three_to_five_exercises_and_hidden_solutions(name):
    last = [bool(notebooks.EXERCISE_TAGS & notebooks.tags(cell)) for cell in _cells(name)]
    assert last == sorted(last)  # exercises are the last cells, and no others among them
    _, *rest = [(c.cell_type, *notebooks.tags(c)) for c in _cells(name) if notebooks.tags(c)][
        -sum(last) :
    ]
    each = [("markdown", "exercise"), ("code", "exercise"), ("code", "solution")]
    assert rest == each * (len(rest) // 3) and 3 <= len(rest) // 3 <= 5
    for solution in _tagged(name, "solution"):
        assert solution.metadata.jupyter.source_hidden is True
    for cell in [*_tagged(name, "exercise"), *_tagged(name, "solution")]:
        assert len(cell.source.splitlines()) <= 13, cell.id


def _asked(source: str) -> str:
    call = ast.parse(source).body[-1].value
    assert ast.unparse(call.func) == "course.check"
    return call.args[0].value


def test_every_check_belongs_to_one_exercise_and_its_solution():
    for tag in ("exercise", "solution"):
        asked = [_asked(cell.source) for name in KNOWN for cell in _tagged(name, tag)]
        assert asked == list(exercises.CHECKS)
    assert set(exercises.GIVEN) <= set(exercises.CHECKS)


@pytest.mark.parametrize("name", KNOWN)
def test_stubs_are_not_yet_right_and_solutions_are(name):
    """After the first cell alone, with the parameters of the smoke preset."""
    names = KNOWN[name].resolve("smoke", {"THREADS": 1})
    (begin,) = [c.source for c in _cells(name) if "lab.begin(" in c.source]
    exec(begin, names)
    pairs = zip(_tagged(name, "exercise"), _tagged(name, "solution"), strict=True)
    for stub, solution in pairs:
        empty, full = _shown(stub.source, names), _shown(solution.source, names)
        assert not empty.is_correct and repr(empty).startswith("not yet: "), (empty, stub.source)
        assert full.is_correct and repr(full).startswith("right: "), (full, solution.source)
        assert "\n" not in repr(empty) + repr(full)


# --- copies for students, and renders


def test_student_copies_have_no_solutions_and_keep_all_else(tmp_path, capsys):
    assert cli.main(["student", str(tmp_path / "class")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(KNOWN)
    for name, known in KNOWN.items():
        copy = nbformat.read(tmp_path / "class" / f"{name}.ipynb", as_version=4)
        nbformat.validate(copy)
        kept = [cell for cell in _cells(name) if "solution" not in notebooks.tags(cell)]
        assert copy.cells == kept
        assert copy.metadata == nbformat.read(known.path, as_version=4).metadata
        assert "solution" not in {tag for cell in copy.cells for tag in notebooks.tags(cell)}
        assert notebooks.read(tmp_path / "class" / f"{name}.ipynb").source == known.source


def test_copies_serve_as_the_notebooks_of_a_package_without_them(tmp_path, monkeypatch):
    student.write(student.copies(["03"], KNOWN), tmp_path / "class")
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "class"))
    begun = lab.begin("03_deconvnet", {"SEED": 3, "THREADS": 1})
    assert begun.parameters["SEED"] == 3 and begun.notebook.figures == KNOWN["03_deconvnet"].figures


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A folder with two tiny notebooks, each with an exercise that fails and a solution."""
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    for name, figure in (("01_first", "F1"), ("02_second", "F2")):
        path = tiny_notebooks.write(tmp_path / "notebooks", name, figure=figure)
        content = nbformat.read(path, as_version=4)
        for tag in ("exercise", "solution"):
            cell = v4.new_code_cell("1 / 0", id=tag, metadata={"tags": [tag]})
            content.cells.append(cell)
        nbformat.write(content, path)
    return tmp_path


def test_copies_are_written_whole_or_not_at_all(small):
    texts, out = student.copies(["01"], notebooks.read_all()), small / "class"
    assert list(texts) == ["01_first.ipynb"]
    student.write(texts, out)
    (out / "notes.txt").write_text("kept")
    student.write(texts, out)  # the same once more harms nothing
    filled_in = texts["01_first.ipynb"].replace("1 / 0", "1 / 1")
    (out / "01_first.ipynb").write_text(filled_in)
    both = student.copies([], notebooks.read_all())
    with pytest.raises(InputError, match=r"holds another 01_first\.ipynb.*--force"):
        student.write(both, out)
    assert (out / "01_first.ipynb").read_text() == filled_in
    assert sorted(file.name for file in out.iterdir()) == ["01_first.ipynb", "notes.txt"]
    student.write(both, out, force=True)
    assert "1 / 1" not in (out / "01_first.ipynb").read_text()
    assert sorted(f.name for f in out.iterdir()) == [*both, "notes.txt"]


def test_copies_do_not_replace_the_notebooks_and_need_a_folder(small):
    texts = student.copies([], notebooks.read_all())
    with pytest.raises(InputError, match="with their solutions"):
        student.write(texts, small / "notebooks", force=True)
    (small / "file").write_text("")
    with pytest.raises(FileError, match="cannot write to"):
        student.write(texts, small / "file")
    with pytest.raises(NameNotFound, match="did you mean 01_first"):
        student.copies(["01_fist"], notebooks.read_all())


def test_no_render_depends_on_exercises(small, capsys):
    """One that fails is not run, and changing one leaves the figures up to date."""
    known, out = notebooks.read_all(), small / "out"
    jobs = render.plan(["01"], known, preset="smoke", overrides={}, out=out)
    assert render.render(jobs, known) == 0, capsys.readouterr().out
    drawn = json.loads((out / "notebooks" / "01_first.ipynb").read_text())
    assert not {"exercise", "solution"} & {cell["id"] for cell in drawn["cells"]}
    tiny_notebooks.replace_in(known["01_first"].path, "1 / 0", "import cnnvis_lab.lab.course")
    again = notebooks.read_all()
    key = fingerprint.fingerprint(again["01_first"], again["01_first"].resolve("smoke", {}))
    assert key == jobs[0].fingerprint and fingerprint.is_up_to_date(out, again["01_first"], key)
