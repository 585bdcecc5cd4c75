"""Mark students' hand-ins: run their exercises, and say which answers are right.

A hand-in is any file with a notebook of the course, which its declared name identifies. Only its
cells up to `lab.begin` are run, and those that are not the lesson's own, with the smoke preset; not
those tagged `solution`. They run in an empty folder and find the notebooks without solutions; the
folder of the notebooks themselves is closed to them. What a check says is written to a file by the
hand-in's own process: a hand-in that forges it is not detected.
"""

import ast
import errno
import json
import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from ...core import FileError, LabError, printable, tasks
from .. import notebooks
from ..executors import open_executor
from ..notebooks import Notebook
from . import student
from .answers import MARKS
from .kernels import CellRun, Limits, run_cells

SETTINGS = 'PRESET, OUT, THREADS = "smoke", "", 1'
BLANK_BYTES = 1000  # a file without text is no larger
NOT_CHECKED = "no cell checks it"
FULL = (errno.ENOSPC, errno.EDQUOT)  # errors that no hand-in causes
_CHECK = re.compile(r"""\bcheck\(\s*["']([\w-]+)["']""")
_CLOSE = """import os, sys

import cnnvis_lab.lab.course

def _closed(event, args, folder={folder!r}, real=os.path.realpath, decode=os.fsdecode):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
        opens = real(decode(args[0]))
        if opens == folder or opens.startswith(folder + os.sep):
            raise PermissionError("hand-ins run without the notebooks' solutions")
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        if folder in repr(args):
            raise PermissionError("hand-ins run without the notebooks' solutions")

sys.addaudithook(_closed)
del _closed, cnnvis_lab"""


class Mark(NamedTuple):
    """What became of an exercise in a hand-in.

    Attributes:
        student: the folder or the file of the hand-in.
        exercise: its id; empty for a file that cannot be marked.
        result: "right", or the reason why it is not.
        minutes: that its cells took; None if they did not run.
        file: the hand-in, relative to the folder of all.
    """

    student: str
    exercise: str
    result: str
    minutes: float | None
    file: str

    @property
    def is_right(self) -> bool:
        """Whether the answer is right."""
        return self.result == "right"


class _Part(NamedTuple):
    """Cells of a hand-in, up to a check, and the exercises that it checks."""

    cells: list[int]
    exercises: list[str]


def find(folder: Path) -> list[Path]:
    """Return the files that are hand-ins: all called `.ipynb`, and other notebooks.

    Raises:
        FileError: there are none.
    """
    found = [file for file in sorted(folder.rglob("*")) if _is_hand_in(file, folder)]
    if not found:
        raise FileError(f"no hand-ins in {folder}; expected notebooks, also in folders of students")
    return found


def _is_hand_in(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    if hidden or not file.is_file():
        return False
    if ".ipynb" in file.name.lower():
        return True
    try:
        return bool(notebooks.read_cells(file))
    except FileError:
        return False


def mark(
    folder: Path,
    known: Mapping[str, Notebook],
    *,
    limits: Limits = Limits(),  # noqa: B008  # immutable
    workers: int = 1,
    on_marked: Callable[[Sequence[Mark]], None] = lambda marks: None,
) -> list[Mark]:
    """Mark all hand-ins of a folder.

    Args:
        folder: of files, or of a folder for each student.
        known: the notebooks of the course by name.
        limits: of each cell.
        workers: hand-ins that run at the same time.
        on_marked: called with the marks of each hand-in.

    Returns:
        The marks, ordered by student and exercise; one for a hand-in that cannot be marked.

    Raises:
        FileError: there are no hand-ins.
    """
    found = find(folder)
    with tempfile.TemporaryDirectory(prefix="cnnvis-mark-") as copies:
        student.write(student.copies([], known), Path(copies))
        marks: dict[Path, list[Mark]] = {}
        with closing(_mark_all(found, workers, folder, known, Path(copies), limits)) as marked:
            for file, marks[file] in marked:
                on_marked(marks[file])
    return sorted((one for file in found for one in marks[file]), key=lambda one: one.student)


def _mark_all(
    found: Sequence[Path], workers: int, *given: Any
) -> Generator[tuple[Path, list[Mark]]]:
    """Yield each hand-in and its marks as soon as it is marked."""
    if workers == 1:
        for file in found:
            yield file, _mark_file(file, *given)
        return
    with open_executor(workers) as executor:
        waiting = {executor.submit(_mark_file, file, *given): file for file in found}
        yield from tasks.completed(waiting, str)


def _mark_file(
    file: Path, folder: Path, known: Mapping[str, Notebook], copies: Path, limits: Limits
) -> list[Mark]:
    """Mark one hand-in; whatever is wrong with it becomes the reason in its marks.

    Raises:
        OSError: there is no room for its kernel's files.
    """
    path = PurePath(printable(str(file.relative_to(folder))))
    who = path.parts[0] if len(path.parts) > 1 else re.split(r"\.ipynb", path.name, flags=re.I)[0]
    exercises = [""]
    try:
        cells, notebook = _open(file, known)
        exercises = exercises_of(notebook)
        sources, parts = _plan(cells, notebook)
        with tempfile.TemporaryDirectory(prefix="cnnvis-hand-in-", ignore_cleanup_errors=True) as t:
            results = _run(sources, parts, Path(t), copies, limits)
    except Exception as error:  # of any kind: the file can contain anything
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        results = dict.fromkeys(exercises, (printable(" ".join(str(error).split())), None))
    marks = (results.get(exercise, (NOT_CHECKED, None)) for exercise in exercises)
    return [
        Mark(who, exercise, *result, path.as_posix())
        for exercise, result in zip(exercises, marks, strict=True)
    ]


def _open(file: Path, known: Mapping[str, Notebook]) -> tuple[list[dict], Notebook]:
    try:
        cells, _ = notebooks.read_cells(file)
    except FileError:
        if file.stat().st_size < BLANK_BYTES and not file.read_bytes().strip():
            raise FileError("the file is empty") from None
        raise FileError("the file is not a notebook, or is damaged") from None
    name = notebooks.declared_name(cells)
    if name not in known:
        said = f"it is {name}" if name else "no cell calls lab.begin"
        raise FileError(f"not a notebook of this course ({said})")
    return cells, known[name]


def exercises_of(notebook: Notebook) -> list[str]:
    """Return the ids of a notebook's exercises."""
    return [id for source in _asked(notebook) for id in _CHECK.findall(source)]


def _asked(notebook: Notebook) -> list[str]:
    """Return the code of a notebook's exercises: stubs and checks."""
    cells = [c for c in notebooks.read_cells(notebook.path)[0] if c["cell_type"] == "code"]
    return [notebooks.cell_source(c) for c in cells if "exercise" in notebooks.tags(c)]


def _plan(cells: list[dict], notebook: Notebook) -> tuple[list[str], list[_Part]]:
    """Return the sources to run, and the parts that belong to exercises; the first is the setup."""
    lesson = [
        cell
        for cell in notebooks.read_cells(notebook.path)[0]
        if not notebooks.EXERCISE_TAGS & notebooks.tags(cell)
    ]
    own = {cell["id"] for cell in lesson if "id" in cell} | {
        notebooks.cell_source(cell) for cell in lesson
    }
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    begin = next(n for n, cell in enumerate(code) if notebooks.declared_name([cell]))
    sources = [notebooks.cell_source(cell) for cell in code[:begin]]
    sources += [SETTINGS, notebooks.cell_source(code[begin]), _imports(notebook)]
    parts = [_Part([*range(len(sources))], [])]
    waiting: list[int] = []
    for cell in code[begin + 1 :]:
        source = notebooks.cell_source(cell)
        if "solution" in notebooks.tags(cell) or {cell.get("id"), source} & own:
            continue
        waiting.append(len(sources))
        sources.append(source)
        if checked := _CHECK.findall(source):
            parts.append(_Part(waiting, checked))
            waiting = []
    return sources, parts


def _imports(notebook: Notebook) -> str:
    """Return the imports of a notebook's exercises, which those after a broken answer need."""
    nodes = [node for source in _asked(notebook) for node in ast.walk(ast.parse(source))]
    imports = (ast.unparse(n) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))
    return "\n".join(dict.fromkeys(imports))


def _run(
    sources: list[str], parts: list[_Part], folder: Path, copies: Path, limits: Limits
) -> dict[str, tuple[str, float | None]]:
    """Return exercise -> result and minutes."""
    work, log = folder / "work", folder / "marks.jsonl"
    work.mkdir()
    variables = {"CNNVIS_NOTEBOOKS": str(copies), "CNNVIS_INTERACTIVE": "0", MARKS: str(log)}
    close = _CLOSE.format(folder=str(notebooks.folder().resolve()))
    runs: dict[int, CellRun] = {}
    cells, setup = [close, *sources], 1 + len(parts[0].cells)
    with closing(run_cells(cells, work, variables, limits, setup=setup)) as running:
        for number, run in running:
            runs[number - 1] = run
            if run.error and number < setup:
                raise LabError(f"its setup fails: {run.error}")
    said = {line["exercise"]: line["message"] for line in _lines(log)}
    said |= {line["exercise"]: "right" for line in _lines(log) if line["right"]}
    results: dict[str, tuple[str, float | None]] = {}
    for part in parts[1:]:
        done = [runs[number] for number in part.cells]
        error = next((run.error for run in done if run.error), "")
        minutes = round(sum(run.seconds for run in done) / 60, 2)
        for exercise in part.exercises:
            result = said.get(exercise, "")
            results[exercise] = (result if result == "right" else error or result, minutes)
    return results


def _lines(log: Path) -> Iterator[dict]:
    """Yield what checks said; lines that a killed kernel left incomplete are skipped."""
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        try:
            yield {"exercise": "", "message": "", "right": False} | json.loads(line)
        except (ValueError, TypeError):
            continue
