"""The notebooks' metadata are nbgrader's: it releases them without solutions and grades answers."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from support import tiny_notebooks

from cnnvis_lab.lab import course, notebooks

NBGRADER = os.environ.get("CNNVIS_NBGRADER") or shutil.which("nbgrader") or ""
pytestmark = pytest.mark.skipif(
    not NBGRADER, reason="nbgrader is not installed; name its program in CNNVIS_NBGRADER"
)
KNOWN = notebooks.read_all()
SHIPPED = "01_activation_maximization"
RIGHT = """def decay_step(x, gradient, rate, decay):
    return 0.5 + (1 - decay) * (x + rate * gradient - 0.5)"""


def _nbgrader(folder: Path, *words: str) -> None:
    """Run nbgrader in the folder of a course, with a kernel of this Python."""
    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"})
    (kernel / "kernel.json").write_text(text)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    own = {name: str(folder / name.lower()) for name in names}
    own["JUPYTER_PATH"] = str(folder / "jupyter")
    own["PATH"] = os.pathsep.join([str(Path(NBGRADER).parent), os.environ["PATH"]])
    (folder / "nbgrader_config.py").write_text("get_config().CourseDirectory.course_id = 'c'\n")
    done = subprocess.run(
        [NBGRADER, *words], cwd=folder, env=os.environ | own, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("source", ["as shipped", "the student's copy"])
def test_a_release_has_every_check_locked_and_no_solution(source, tmp_path):
    folder = tmp_path / "source" / "ps1"
    if source == "as shipped":
        folder.mkdir(parents=True)
        shutil.copy(KNOWN[SHIPPED].path, folder)
    else:
        course.write(course.copies([SHIPPED], KNOWN), folder)
    _nbgrader(tmp_path, "generate_assignment", "ps1")
    released = nbformat.read(tmp_path / "release" / "ps1" / f"{SHIPPED}.ipynb", as_version=4)
    cells = {cell.id: cell for cell in released.cells}
    for cell in nbformat.read(KNOWN[SHIPPED].path, as_version=4).cells:
        tags = notebooks.tags(cell)
        if "solution" in tags:
            assert not any(cell.source in one.source for one in released.cells)
        elif "exercise" in tags:
            assert cells[cell.id].source == cell.source
            is_check = cell.source.startswith("course.check(")
            assert (cells[cell.id].metadata.get("editable") is False) == is_check
    assert sum(one.source.startswith("course.check(") for one in released.cells) == 5


@pytest.mark.slow
def test_nbgrader_gives_points_for_right_answers_only(tmp_path, monkeypatch):
    """A tiny notebook with two exercises of a shipped one; a student solves the first."""
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    path = tiny_notebooks.write(tmp_path / "notebooks", "01_first")
    content = nbformat.read(path, as_version=4)
    shipped = nbformat.read(KNOWN[SHIPPED].path, as_version=4).cells
    checks = [n for n, cell in enumerate(shipped) if cell.source.startswith('course.check("AM-2"')]
    content.cells += shipped[checks[0] - 2 : checks[0] + 6]  # two texts, stubs, checks, solutions
    stub = next(cell for cell in content.cells if cell.source.startswith("def decay_step"))
    stub.source = f"from cnnvis_lab.lab import course\n\n\n{stub.source}"
    nbformat.write(content, path)
    course.write(course.copies([], notebooks.read_all()), tmp_path / "source" / "ps1")
    _nbgrader(tmp_path, "generate_assignment", "ps1")
    released = nbformat.read(tmp_path / "release" / "ps1" / "01_first.ipynb", as_version=4)
    for cell in released.cells:
        if cell.id == stub.id:
            cell.source = f"from cnnvis_lab.lab import course\n\n\n{RIGHT}"
    (tmp_path / "submitted" / "ada" / "ps1").mkdir(parents=True)
    nbformat.write(released, tmp_path / "submitted" / "ada" / "ps1" / "01_first.ipynb")
    _nbgrader(tmp_path, "autograde", "ps1")
    _nbgrader(tmp_path, "export", "--to", str(tmp_path / "grades.csv"))
    (row,) = csv.DictReader((tmp_path / "grades.csv").read_text().splitlines())
    assert (float(row["score"]), float(row["max_score"])) == (1, 2)
