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


def _last_value(source: str, namespace: dict) -> object:
    """Run a cell; return the value of its last line."""
    *lines, last = ast.parse(source).body
    exec(compile(ast.Module(lines, []), "cell", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


@pytest.mark.parametrize("name", KNOWN)
def test_a_notebook_has_three_to_five_exercises_with_hidden_solutions(name):
    cells = _cells(name)
    places = [n for n, c in enumerate(cells) if notebooks.EXERCISE_TAGS & notebooks.tags(c)]
    # No other cells are between the exercises.
    assert places == list(range(places[0], places[-1] + 1))
    _, *rest = [(cells[n].cell_type, *notebooks.tags(cells[n])) for n in places]
    stub, check = ("code", "exercise"), ("code", "exercise")
    part = [("markdown", "exercise"), stub, check, ("code", "solution")]
    assert rest == part * (len(rest) // 4) and 3 <= len(rest) // 4 <= 5
    for solution in _tagged(name, "solution"):
        assert solution.metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}
        # JupyterLab shows the first line of a hidden source.
        assert solution.source.startswith("# A solution: click to read it.\n")
        # JupyterLab shows what a run displays, also of a cell whose outputs were hidden.
        last, calls = ast.parse(solution.source).body[-1], ("print(", "display(", "check(")
        assert not isinstance(last, ast.Expr) and not any(c in solution.source for c in calls)
    for cell in [*_tagged(name, "exercise"), *_tagged(name, "solution")]:
        assert len(cell.source.splitlines()) <= 13, cell.id


def _checked_exercise(source: str) -> str:
    call = ast.parse(source).body[-1].value
    assert ast.unparse(call.func) == "course.check"
    return call.args[0].value


def test_every_check_belongs_to_one_exercise():
    checks = [cell for name in KNOWN for cell in _tagged(name, "exercise")[1::2]]
    assert [_checked_exercise(cell.source) for cell in checks] == list(exercises.CHECKS)
    assert set(exercises.GIVEN) <= set(exercises.CHECKS)
    stubs = [cell for name in KNOWN for cell in _tagged(name, "exercise")[::2]]
    assert not any("course.check" in stub.source for stub in stubs)


def test_exercises_have_the_metadata_of_nbgrader():
    for name in KNOWN:
        pairs = zip(_tagged(name, "exercise")[1::2], _tagged(name, "solution"), strict=True)
        for check, solution in pairs:
            id = _checked_exercise(check.source)
            common = {"cell_type": "code", "schema_version": 3, "task": False}
            graded = {"grade": True, "solution": False, "locked": True, "points": 1}
            assert check.metadata.nbgrader == common | graded | {"grade_id": id}
            replaced = {"grade": False, "solution": True, "locked": False}
            expected = common | replaced | {"grade_id": f"{id}-solution"}
            assert solution.metadata.nbgrader == expected


@pytest.mark.parametrize("name", KNOWN)
def test_stubs_fail_their_checks_and_solutions_pass(name):
    """Run after the first cell only, with the parameters of the smoke preset."""
    namespace = KNOWN[name].resolve("smoke", {"THREADS": 1})
    (begin,) = [c.source for c in _cells(name) if "lab.begin(" in c.source]
    exec(begin, namespace)
    asked = _tagged(name, "exercise")
    for stub, check, solution in zip(
        asked[::2], asked[1::2], _tagged(name, "solution"), strict=True
    ):
        exec(stub.source, namespace)
        failed = _last_value(check.source, namespace)
        exec(solution.source, namespace)
        passed = _last_value(check.source, namespace)
        assert not failed.is_correct and repr(failed).startswith("not yet: "), (failed, stub.source)
        assert passed.is_correct and repr(passed).startswith("right: "), (passed, solution.source)
        assert "\n" not in repr(failed) + repr(passed)


# --- copies for students, and renders


def test_student_copies_omit_the_solutions_and_nothing_else(tmp_path, capsys):
    assert cli.main(["student", str(tmp_path / "class")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(KNOWN)
    for name, known in KNOWN.items():
        copy = nbformat.read(tmp_path / "class" / f"{name}.ipynb", as_version=4)
        nbformat.validate(copy)
        expected = [cell for cell in _cells(name) if "solution" not in notebooks.tags(cell)]
        assert copy.cells == expected
        assert copy.metadata == nbformat.read(known.path, as_version=4).metadata
        assert "solution" not in {tag for cell in copy.cells for tag in notebooks.tags(cell)}
        assert notebooks.read(tmp_path / "class" / f"{name}.ipynb").source == known.source


def test_copies_can_replace_the_notebooks_of_an_installed_package(tmp_path, monkeypatch):
    student.write(student.copies(["03"], KNOWN), tmp_path / "class")
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "class"))
    run = lab.begin("03_deconvnet", {"SEED": 3, "THREADS": 1})
    assert run.parameters["SEED"] == 3 and run.notebook.figures == KNOWN["03_deconvnet"].figures


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


def test_either_all_copies_are_written_or_none(small):
    texts, out = student.copies(["01"], notebooks.read_all()), small / "class"
    assert list(texts) == ["01_first.ipynb"]
    student.write(texts, out)
    (out / "notes.txt").write_text("kept")
    student.write(texts, out)  # writing the same copies again changes nothing
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


def test_copies_do_not_overwrite_the_notebooks_and_need_a_folder(small):
    texts = student.copies([], notebooks.read_all())
    with pytest.raises(InputError, match="with their solutions"):
        student.write(texts, small / "notebooks", force=True)
    (small / "file").write_text("")
    with pytest.raises(FileError, match="cannot write to"):
        student.write(texts, small / "file")
    with pytest.raises(NameNotFound, match="did you mean 01_first"):
        student.copies(["01_fist"], notebooks.read_all())


def test_rendering_does_not_depend_on_exercises(small, capsys):
    """Exercises are not run, and changing one leaves the figures up to date."""
    known, out = notebooks.read_all(), small / "out"
    jobs = render.plan(["01"], known, preset="smoke", overrides={}, out=out)
    assert render.render(jobs, known) == 0, capsys.readouterr().out
    drawn = json.loads((out / "notebooks" / "01_first.ipynb").read_text())
    assert not {"exercise", "solution"} & {cell["id"] for cell in drawn["cells"]}
    tiny_notebooks.replace_in(known["01_first"].path, "1 / 0", "import cnnvis_lab.lab.course")
    again = notebooks.read_all()
    (job,) = render.plan(["01"], again, preset="smoke", overrides={}, out=out)
    key = job.fingerprint
    assert key == jobs[0].fingerprint and fingerprint.is_up_to_date(out, again["01_first"], key)
