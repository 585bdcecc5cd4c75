"""Hand-ins of any name and quality are marked, each in its own kernel, without solutions."""

import csv
import io
import json
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from support import tiny_notebooks

from cnnvis_lab.core import FileError
from cnnvis_lab.lab import cli, course, notebooks
from cnnvis_lab.lab.course import hand_ins, kernels, table

IMPORTED = "from cnnvis_lab.lab import course"
STUBS = {
    "AM-2": f"{IMPORTED}\n\ndef decay_step(x, gradient, rate, decay):\n    return None",
    "AM-3": "def variation(images):\n    return None  # (n,)",
}
RIGHT = {
    "AM-2": "def decay_step(x, gradient, rate, decay):\n"
    "    return 0.5 + (1 - decay) * (x + rate * gradient - 0.5)",
    "AM-3": "def variation(images):\n"
    "    pairs = images.diff(dim=3), images.diff(dim=2)\n"
    "    return sum(d.square().sum((1, 2, 3)) for d in pairs) / images[0].numel()",
}
WRONG = {"AM-2": "def decay_step(x, gradient, rate, decay):\n    return x - rate * gradient"}
CALLS = {"AM-2": "decay_step", "AM-3": "variation"}
ENDLESS = "while True:\n    pass"
STUBBORN = """while True:
    try:
        while True:
            pass
    except BaseException:
        pass"""
GREEDY = "import torch\nheld = [torch.ones(10**7) for _ in range(100)]"


@pytest.fixture
def teacher(tmp_path, monkeypatch) -> Path:
    """A folder with a course of one tiny notebook, whose lesson would fail if it were run."""
    path = tiny_notebooks.write(tmp_path / "notebooks", "01_first", body="1 / 0")
    content = nbformat.read(path, as_version=4)
    text = v4.new_markdown_cell("What *is* it?", metadata={"tags": ["exercise"]})
    content.cells.append(text)
    for id, stub in STUBS.items():
        sources = [("exercise", stub), ("exercise", _check(id)), ("solution", RIGHT[id])]
        for number, (tag, source) in enumerate(sources):
            metadata = {"tags": [tag]}
            content.cells.append(v4.new_code_cell(source, id=f"{id}-{number}", metadata=metadata))
    nbformat.write(content, path)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    return tmp_path


def _check(id: str) -> str:
    return f'course.check("{id}", {CALLS[id]})'


def _hand_in(teacher: Path, name: str, answers: dict[str, str], *, own: str = "") -> Path:
    """Write a hand-in: the student's copy with stubs replaced, and a cell of the student's own."""
    known = notebooks.read_all()
    content = nbformat.reads(course.copies([], known)["01_first.ipynb"], as_version=4)
    for cell in content.cells:
        cell.source = answers.get(cell.id.removesuffix("-0"), cell.source)
    if own:
        content.cells.append(v4.new_code_cell(own))
    path = teacher / "class" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(content, path)
    return path


def _rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))[1:]


PEEKS = """import os
import time
from pathlib import Path

time.sleep(0.7)
found = os.listdir(".")
for folder in ("{folder}", os.environ["CNNVIS_NOTEBOOKS"]):
    try:
        found += [file for file in Path(folder).iterdir() if '"solution"' in file.read_text()]
    except PermissionError:
        pass
if found:
    raise SystemExit(found)
"""


ODD_CELLS = [
    {"cell_type": "code", "id": [1], "metadata": {}, "source": source}
    for source in ("run = lab.begin('01_first', globals())", "1 / 0")
]
ODD = {"nbformat": 4, "metadata": {}, "cells": ODD_CELLS}


def test_right_wrong_and_broken_hand_ins_are_marked(teacher, capsys):
    """The first one also looks for solutions, in the course's folder and in the one it is given."""
    peeks = PEEKS.format(folder=teacher / "notebooks")
    answers = {
        "AM-2": f"{peeks}\n{RIGHT['AM-2']}",
        "AM-3": RIGHT["AM-3"].replace("sum(d", "-sum(d"),
    }
    _hand_in(teacher, "ada/Homework (1).ipynb.txt", answers)
    texts = {
        "empty.ipynb": "", "broken.ipynb": "{", "notes.pdf": "%PDF", "deep": "[" * 10**5,
        "caf\udce9.ipynb": " \n", "odd.ipynb": json.dumps(ODD),
    }  # fmt: skip
    for name, text in texts.items():
        (teacher / "class" / name).write_text(text)
    other = v4.new_notebook(cells=[v4.new_code_cell("run = lab.begin('99_none', globals())")])
    nbformat.write(other, teacher / "class" / "=other.ipynb")
    out = teacher / "marks"
    words = ["mark", str(teacher / "class"), "--seconds", "60", "--out", str(out)]
    assert cli.main(words) == 0
    assert "ada/Homework (1).ipynb.txt: 1 of 2 right" in capsys.readouterr().out
    rows = _rows((out / "marks.csv").read_text())
    assert [row[:3] for row in rows] == [
        ["'=other", "", "not a notebook of this course (it is 99_none)"],
        ["ada", "AM-2", "right"],
        ["ada", "AM-3", "what it returns has the wrong sign"],
        ["broken", "", "the file is not a notebook, or is damaged"],
        ["caf\\udce9", "", "the file is empty"],
        ["empty", "", "the file is empty"],
        ["odd", "AM-2", "unhashable type: 'list'"],
        ["odd", "AM-3", "unhashable type: 'list'"],
    ]
    assert float(rows[1][3]) >= 0.01 and rows[0][3] == "" and rows[1][4].endswith(".ipynb.txt")
    page = (out / "marks.html").read_text()
    assert "ada</a>: 1 of 2 right" in page and tiny_notebooks.fetched(page) == []


def test_marking_needs_hand_ins(teacher, capsys):
    (teacher / "class" / ".ipynb_checkpoints").mkdir(parents=True)
    (teacher / "class" / ".ipynb_checkpoints" / "a-checkpoint.ipynb").write_text("{}")
    with pytest.raises(FileError, match="no hand-ins in"):
        hand_ins.find(teacher / "class")
    assert cli.main(["mark", str(teacher / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_fails_while_marks_are_shown_ends_the_command(teacher):
    (teacher / "class").mkdir()
    for name in "ab":
        (teacher / "class" / f"{name}.ipynb").touch()
    shown = []

    def closed(marks: list[hand_ins.Mark]) -> None:
        shown.extend(marks)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        course.mark(teacher / "class", notebooks.read_all(), on_marked=closed)
    assert [mark.student for mark in shown] == ["a"]


def test_a_table_that_a_spreadsheet_opens_contains_no_formulas():
    mark = hand_ins.Mark("=1+1", "AM-2", '-1 is wrong, "said" he', None, "@a.ipynb")
    assert _rows(table.to_csv([mark])) == [
        ["'=1+1", "AM-2", '\'-1 is wrong, "said" he', "", "'@a.ipynb"]
    ]


def test_the_parts_of_a_hand_in_are_its_setup_and_what_is_not_the_lessons(teacher):
    path = _hand_in(teacher, "a.ipynb", {"AM-2": "x = 1"}, own="my = 2")
    content = json.loads(path.read_text())
    for cell in content["cells"]:  # as a program that knows no ids leaves them
        cell.pop("id")
    content["cells"].append(v4.new_code_cell("s = 3", metadata={"tags": ["solution"]}))
    known = notebooks.read_all()["01_first"]
    sources, parts = hand_ins._plan(content["cells"], known)
    assert sources[1] == hand_ins.SETTINGS and "lab.begin(" in sources[2]
    assert sources[3] == IMPORTED  # also where the first answer does not import it
    assert sources[4:] == ["x = 1", _check("AM-2"), STUBS["AM-3"], _check("AM-3"), "my = 2"]
    assert parts == [([0, 1, 2, 3], []), ([4, 5], ["AM-2"]), ([6, 7], ["AM-3"])]
    assert hand_ins.exercises_of(known) == ["AM-2", "AM-3"]


# A kernel that does not stop to skip the cells that are requested right after an error.
SKIPS = """from ipykernel.kernelbase import Kernel
c.IPythonKernel.stop_on_error_timeout = 60
Kernel._post_dummy_stop_aborting_message = lambda *_: None"""


def test_a_cell_that_comes_soon_after_an_error_is_run(tmp_path):
    settings = tmp_path / "ipython" / "profile_default" / "ipython_kernel_config.py"
    settings.parent.mkdir(parents=True)
    settings.write_text(SKIPS)
    (tmp_path / "work").mkdir()
    cells = ["1 / 0", "x = 1", "raise KeyError(x)"]
    runs = [run for _, run in kernels.run_cells(cells, tmp_path / "work", {}, kernels.Limits())]
    assert [run.error for run in runs] == ["ZeroDivisionError: division by zero", "", "KeyError: 1"]


def test_the_exercises_of_every_notebook_can_be_marked():
    known = notebooks.read_all()
    for file, text in course.copies([], known).items():
        notebook = known[Path(file).stem]
        sources, parts = hand_ins._plan(json.loads(text)["cells"], notebook)
        asked = [id for part in parts for id in part.exercises]
        assert asked == hand_ins.exercises_of(notebook) and len(asked) >= 3
        compile("\n".join(sources[number] for number in parts[0].cells), file, "exec")


@pytest.mark.slow
def test_a_class_of_twenty_is_marked_in_one_command(teacher):
    """Right, wrong, broken, endless, greedy and renamed hand-ins; each has its own reason."""
    expected: dict[str, list[str]] = {}
    for n in range(6):
        _hand_in(teacher, f"right{n}/{'Copy of ' * n}01_first-Copy{n}.ipynb", RIGHT)
        expected[f"right{n}"] = ["right", "right"]
    for n in range(3):
        _hand_in(teacher, f"wrong{n}.ipynb", RIGHT | WRONG)
        expected[f"wrong{n}"] = ["", "right"]
    cases = {
        "stub": ({}, ["returns nothing yet", "returns nothing yet"]),
        "syntax": (RIGHT | {"AM-2": "def f(:"}, ["SyntaxError", "right"]),
        "raises": (RIGHT | {"AM-3": "int('x')"}, ["right", "ValueError"]),
        "endless": (RIGHT | {"AM-2": ENDLESS}, ["takes longer than 4 s", "right"]),
        "stubborn": (RIGHT | {"AM-2": STUBBORN}, ["takes longer than 4 s", "right"]),
        "greedy": (RIGHT | {"AM-2": GREEDY}, ["needs more than 1.5 GB", "right"]),
        "exits": (RIGHT | {"AM-3": "import os; os._exit(3)"}, ["right", "the kernel died"]),
        "begins": (RIGHT, ["its setup fails: NameError", "its setup fails"]),
    }
    for name, (answers, results) in cases.items():
        path = _hand_in(teacher, f"{name}/hand-in.ipynb", answers)
        expected[name] = results
        if name == "begins":
            tiny_notebooks.replace_in(path, "run = lab.begin(", "undefined\\nrun = lab.begin(")
    broken = {"empty.ipynb": "", "cut.ipynb": '{"cells": [', "list.ipynb": "[]"}
    for name, text in broken.items():
        (teacher / "class" / name).write_text(text)
        expected[name.split(".")[0]] = ["the file is"]
    assert len(expected) == 20
    out = teacher / "marks"
    words = ["mark", str(teacher / "class"), "--seconds", "4", "--memory", "1.5", "--out", str(out)]
    assert cli.main(words) == 0
    found: dict[str, list[str]] = {}
    for student, _, result, *_ in _rows((out / "marks.csv").read_text()):
        found.setdefault(student, []).append(result)
    assert found.keys() == expected.keys()
    for student, results in expected.items():
        for result, words in zip(found[student], results, strict=True):
            assert words in result and (result == "right") == (words == "right"), (student, result)
