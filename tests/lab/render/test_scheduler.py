"""Rendering with real kernels: results are complete or absent, and nothing is drawn twice."""

import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import papermill
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support import tiny_notebooks

from cnnvis_lab.core import InputError, NameNotFound, files, scratch
from cnnvis_lab.lab import cli, locks, notebooks, records, render
from cnnvis_lab.lab.render import execute, scheduler

# The second by name is needed by the first, and what it draws depends on an image.
READS = """from cnnvis_lab.data import images

LEVEL = float(images.load(PICTURE).mean())"""
AFTER = """from pathlib import Path

from safetensors.torch import load_file

LEVEL = float(load_file(Path(OUT).parent / "arrays" / "F2.safetensors")["image"].mean())"""
ALONE = "from cnnvis_lab import models\n\nmodels.graph.blocks"
NAMES = ("02_reads", "03_alone", "01_after")  # needed ones first, then by name


@contextlib.contextmanager
def _notebooks(folder: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNVIS_NOTEBOOKS", str(folder))
        yield patch


def _cnnvis(*arguments: object) -> tuple[int, list[str], str]:
    """Run a command in this process; return its status, lines, and errors."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = cli.main([str(argument) for argument in arguments])
    return status, out.getvalue().splitlines(), errors.getvalue()


def _drawn(lines: list[str]) -> list[str]:
    """Return the names of the notebooks that were run, from what the command printed."""
    return [line.split(":")[0] for line in lines if re.search(r": drawn in \d+ s$", line)]


def _content(out: Path) -> dict[str, bytes]:
    files = [file for file in out.rglob("*") if file.is_file() and file.name != ".cnnvis-lock"]
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in sorted(files)}


def _written(out: Path) -> dict[str, tuple[int, int]]:
    """Return values that change when a record is written again, even with the same bytes."""
    stats = {file.stem: file.stat() for file in (out / "records").glob("*.json")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


@pytest.fixture(scope="module")
def drawn_once(tmp_path_factory):
    """Three notebooks and their results, what the command printed, and the reported progress."""
    folder = tmp_path_factory.mktemp("drawn")
    image = folder / "picture.png"
    Image.fromarray(np.full((4, 4, 3), 51, np.uint8)).save(image)
    parameter = f'PICTURE: str = "{image}"  # the image to read\n'
    books = folder / "notebooks"
    tiny_notebooks.write(books, "01_after", figure="F1", needs=("02_reads",), body=AFTER)
    tiny_notebooks.write(
        books, "02_reads", figure="F2", body=READS, parameters=tiny_notebooks.PARAMETERS + parameter
    )
    tiny_notebooks.write(books, "03_alone", figure="F3", body=ALONE)
    cells: list[tuple[int, int]] = []
    with _notebooks(books) as patch:
        patch.setattr(
            scheduler, "_cell_progress", lambda job: lambda *position: cells.append(position)
        )
        printed = _cnnvis("render", "--jobs", 1, "--out", folder / "out")
    return folder, printed, cells


@pytest.fixture
def out(drawn_once, tmp_path, monkeypatch):
    """A copy of the notebooks and of their results."""
    for part in ("notebooks", "out"):
        shutil.copytree(drawn_once[0] / part, tmp_path / part)
    monkeypatch.setenv("CNNVIS_NOTEBOOKS", str(tmp_path / "notebooks"))
    return tmp_path / "out"


def test_notebooks_run_after_those_they_need_and_report_every_cell(drawn_once):
    _, (status, lines, errors), cells = drawn_once
    assert status == 0 and errors == ""
    assert _drawn(lines) == list(NAMES) and len(lines) == 3
    assert cells == [(cell, 10) for cell in range(1, 11)] * 3


def test_figures_and_arrays_are_those_of_the_parameters_the_seed_and_the_image(drawn_once):
    out = drawn_once[0] / "out"
    torch.manual_seed(0)
    noise = torch.rand(3, 4, 5)
    level = {"F2": torch.full((3, 4, 4), 51 / 255).mean(), "F3": 0.25}
    level["F1"] = (noise * level["F2"]).mean()
    for name, factor in level.items():
        saved = load_file(out / "arrays" / f"{name}.safetensors")["image"]
        assert torch.allclose(saved, noise * factor, rtol=1e-6)
        record = json.loads((out / "records" / "02_reads.json").read_text())
        assert record["inputs"].keys() == {str(drawn_once[0] / "picture.png")}
    assert not list(out.glob(".cnnvis-staging-*")) and not list(out.rglob(".cnnvis-partial-*"))


def test_executed_notebooks_contain_their_outputs_but_no_times_or_paths(drawn_once):
    folder = drawn_once[0]
    for name in NAMES:
        text = (folder / "out" / "notebooks" / f"{name}.ipynb").read_text()
        book = nbformat.reads(text, as_version=4)
        nbformat.validate(book)
        counts = [cell.execution_count for cell in book.cells if cell.cell_type == "code"]
        assert counts == list(range(1, 9))  # papermill adds one cell, with the parameters
        images = [o for c in book.cells for o in c.get("outputs", ()) if "image/png" in o.data]
        assert len(images) == 1
        page = (folder / "out" / "notebooks" / f"{name}.html").read_text()
        assert [image["alt"] for image in tiny_notebooks.tags(page, "img")] == ['Some "noise"']
        assert tiny_notebooks.fetched(page) == [] and "does not hold" in page
        for content in (text, page):
            assert "OUT = " not in content and "staging" not in content
            assert "papermill" not in content and "execution_time" not in content


def test_the_same_command_again_draws_nothing(out):
    before, written = _content(out), _written(out)
    status, lines, errors = _cnnvis("render", "--out", out)
    assert (status, errors) == (0, "")
    assert lines == [f"{name}: up to date" for name in NAMES]
    assert _content(out) == before and _written(out) == written


def test_with_nothing_to_do_no_file_is_written_and_no_lock_is_taken(out):
    (out / ".cnnvis-lock").unlink(missing_ok=True)
    for path in (*out.rglob("*"), out):
        os.utime(path, ns=(10**18, 10**18))
    assert _cnnvis("render", "--out", out)[0] == 0
    assert {path.stat().st_mtime_ns for path in (*out.rglob("*"), out)} == {10**18}
    with locks.locked_folder(out):
        assert _cnnvis("render", "--out", out)[0] == 0


def test_a_folder_in_which_nothing_was_written_does_not_stay(tmp_path):
    kept, empty = tmp_path / "kept", tmp_path / "a" / "empty"
    with locks.locked_folder(kept):
        (kept / "file").touch()
    with pytest.raises(ZeroDivisionError), locks.locked_folder(empty):
        raise ZeroDivisionError
    (tmp_path / "own").mkdir()
    with locks.locked_folder(tmp_path / "own"):  # which the user has made
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "own"}


@pytest.mark.parametrize("how", [(), pytest.param(("--cluster", "local"), marks=pytest.mark.slow)])
def test_two_fresh_folders_get_the_same_bytes_with_one_worker_or_two(
    how, drawn_once, tmp_path, monkeypatch
):
    monkeypatch.setattr(scheduler, "_is_watched", lambda: True)  # as in a terminal
    if how:
        pytest.importorskip("distributed", reason="Dask is not installed")
    first, books = drawn_once[0] / "out", tmp_path / "{books}" / "notebooks"
    second = tmp_path / "{x} 100% {{y" / "out"
    shutil.copytree(drawn_once[0] / "notebooks", books)
    with _notebooks(books):
        status, lines, errors = _cnnvis("render", "--out", second, "--jobs", 2, *how)
    assert (status, errors) == (0, "")
    assert sorted(_drawn(lines)) == sorted(NAMES) and _drawn(lines)[-1] == "01_after"
    assert [line for line in lines if "drawn" not in line] == [f"{name}: begun" for name in NAMES]
    first_content, second_content = _content(first), _content(second)
    assert first_content.keys() == second_content.keys()
    for file in first_content:
        if file.startswith("records/"):
            both = [json.loads(content[file]) for content in (first_content, second_content)]
            assert all(record.pop("seconds") > 0 for record in both)
            assert both[0] == both[1]
        elif file != "timings.json":
            assert first_content[file] == second_content[file], file


def test_a_changed_parameter_redraws_the_notebooks_that_have_it(out):
    before, written = load_file(out / "arrays" / "F3.safetensors"), _written(out)
    note = 'a "b" {x} \\n $1 é'
    status, lines, _ = _cnnvis(
        "render", "03", "-p", "LEVEL", "0.5", "-p", "NOTE", note, "--out", out
    )
    assert status == 0 and _drawn(lines) == ["03_alone"]
    after = load_file(out / "arrays" / "F3.safetensors")
    assert torch.equal(after["image"], before["image"] * 2)
    assert [name for name in NAMES if _written(out)[name] != written[name]] == ["03_alone"]
    record = records.read_record(out, "03_alone")
    assert (record["parameters"]["LEVEL"], record["parameters"]["NOTE"]) == (0.5, note)
    assert "-p LEVEL 0.5 -p NOTE" in (out / "index.html").read_text()


def test_a_changed_text_redraws_only_its_notebook_if_its_arrays_stay_the_same(out, tmp_path):
    before = _content(out)
    tiny_notebooks.replace_in(tmp_path / "notebooks" / "02_reads.ipynb", "Its mean", "The mean")
    status, lines, _ = _cnnvis("render", "--out", out)
    assert status == 0 and _drawn(lines) == ["02_reads"]
    after = _content(out)
    assert b"The mean" in after["notebooks/02_reads.html"]
    changed = {file for file in after if after[file] != before[file]}
    assert changed <= {
        *(f"notebooks/02_reads.{ending}" for ending in ("ipynb", "html")),
        "records/02_reads.json",
        "manifest.json",
        "timings.json",
    }


def test_a_changed_input_redraws_its_readers_and_the_notebooks_that_need_them(out, drawn_once):
    image = drawn_once[0] / "picture.png"
    original = image.read_bytes()
    try:
        Image.fromarray(np.full((4, 4, 3), 102, np.uint8)).save(image)
        status, lines, _ = _cnnvis("render", "--out", out)
    finally:
        image.write_bytes(original)
    assert status == 0 and _drawn(lines) == ["02_reads", "01_after"]
    for name in ("F1", "F2"):
        old, new = (
            load_file(o / "arrays" / f"{name}.safetensors") for o in (drawn_once[0] / "out", out)
        )
        assert torch.allclose(new["image"], 2 * old["image"], rtol=1e-6)


def test_damaged_and_deleted_outputs_are_reproduced(out):
    before = _content(out)
    (out / "figures" / "F3.png").write_bytes(before["figures/F3.png"][:-1])
    (out / "notebooks" / "03_alone.html").unlink()
    (out / "index.html").unlink()
    (out / "manifest.json").write_text("{}")
    scratch.make(out, "staging")  # of a killed run
    (out / "figures" / f"{files.PARTIAL}x.png").write_bytes(b"half")
    (out / ".staging-mine").mkdir()  # not ours
    status, lines, _ = _cnnvis("render", "--out", out)
    assert status == 0 and _drawn(lines) == ["03_alone"]
    assert (out / ".staging-mine").is_dir()
    after = _content(out)
    assert after.keys() == before.keys()
    differ = {file for file in after if after[file] != before[file]}
    assert differ <= {"records/03_alone.json", "timings.json"}  # they contain the seconds


def test_force_runs_notebooks_that_are_up_to_date(out, monkeypatch):
    monkeypatch.setattr(execute, "execute", tiny_notebooks.execute_without_kernel)
    assert _drawn(_cnnvis("render", "03", "--out", out)[1]) == []
    assert _drawn(_cnnvis("render", "03", "--force", "--out", out)[1]) == ["03_alone"]


MAIN = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from cnnvis_lab.lab import cli
sys.exit(cli.main(sys.argv[1:]))"""


@contextlib.contextmanager
def _started(*arguments: object, **environment: str):
    """Run a command in a process and session of its own."""
    command = subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd="/",  # without another copy of the package
        env=os.environ | environment,
    )
    with command:
        try:
            yield command
        finally:
            with contextlib.suppress(ProcessLookupError):
                command.kill()


def _wait(condition, timeout: float = 400) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


CHANGES = {
    "a comment": ("def blocks(", "# changed\ndef blocks(", []),
    "a function": ("def blocks(", "def blocks(*more, ", ["03_alone"]),
    "an unused function": ("def conv_blocks(", "def conv_blocks(*more, ", []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_module_redraws_the_notebooks_that_use_what_changed(out, tmp_path, change):
    old, new, drawn = CHANGES[change]
    package = tmp_path / "elsewhere" / "cnnvis_lab"
    shutil.copytree(
        records.PACKAGE, package, ignore=shutil.ignore_patterns("weights", "__pycache__")
    )
    tiny_notebooks.replace_in(package / "models" / "graph.py", old, new)
    with _started("render", "--out", out, PYTHONPATH=str(package.parent)) as command:
        printed, errors = command.communicate()
    assert (command.returncode, errors) == (0, "")
    assert _drawn(printed.splitlines()) == drawn


def test_a_changed_template_makes_pages_again_and_draws_nothing(out, tmp_path):
    package, before = tmp_path / "elsewhere" / "cnnvis_lab", _content(out)
    shutil.copytree(
        records.PACKAGE, package, ignore=shutil.ignore_patterns("weights", "__pycache__")
    )
    tiny_notebooks.replace_in(package / "lab/gallery/templates/style.css", "{", "{ orphans: 3;")
    for changed in (True, False):
        with _started("render", "--out", out, PYTHONPATH=str(package.parent)) as command:
            printed, errors = command.communicate()
        assert (command.returncode, errors) == (0, "")
        ending = ", page made again" if changed else ""
        assert printed.splitlines() == [f"{name}: up to date{ending}" for name in NAMES]
    after = _content(out)
    assert before.keys() == after.keys()
    differ = {file for file in after if after[file] != before[file]}
    of_notebooks = {f"notebooks/{name}.html" for name in NAMES}
    of_notebooks |= {f"records/{name}.json" for name in NAMES}
    assert differ == of_notebooks | {"index.html", "manifest.json"}
    assert all(b"orphans" in after[file] for file in differ if file.endswith(".html"))


FAULTS = {
    "an error": (
        "FAULT",
        "raise ValueError('two\\nlines')",
        "cell [4] (exec(FAULT)): ValueError: two lines",
    ),
    "an exit": ("FAULT", "import os; os._exit(0)", "the kernel died"),
    "a kill": ("FAULT", "import os; os.kill(os.getpid(), 9)", "the kernel died"),
    "an exit after the end": ("AFTER", "import os; os._exit(0)", "the kernel died"),
    "no end": ("FAULT", "run.finish = lambda: None", "without run.finish()"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_notebook_is_one_line_and_changes_no_result(out, fault):
    parameter, code, says = FAULTS[fault]
    before, written = _content(out), _written(out)
    status, lines, errors = _cnnvis("render", "03", "-p", parameter, code, "--out", out)
    assert (status, lines) == (1, [])
    (line,) = errors.splitlines()
    assert line.startswith("03_alone: ") and says in line
    assert _content(out) == before and _written(out) == written
    assert not list(out.glob(".cnnvis-staging-*"))


def test_after_a_failure_nothing_else_runs_without_keep_going(out, tmp_path, monkeypatch):
    def execute_or_fail(job: render.Job, staging: Path, on_progress: object) -> None:
        if job.notebook.name == "02_reads":
            raise render.Failed("cell [4]: it failed")
        tiny_notebooks.execute_without_kernel(job, staging)

    monkeypatch.setattr(execute, "execute", execute_or_fail)
    arguments = ("render", "--jobs", 1, "--out", tmp_path / "new")
    failure = "02_reads: cell [4]: it failed"
    not_run = [f"{name}: not run, 02_reads failed" for name in NAMES[1:]]
    errors = "\n".join([failure, *not_run]) + "\n"
    assert _cnnvis(*arguments) == (1, [], errors)
    assert not (tmp_path / "new" / "figures").exists()
    status, lines, errors = _cnnvis(*arguments, "--keep-going")
    assert status == 1 and _drawn(lines) == ["03_alone"] and len(lines) == 1
    assert errors.splitlines() == [failure, not_run[1]]
    page = (tmp_path / "new" / "index.html").read_text()
    assert {image["src"] for image in tiny_notebooks.tags(page, "img")} == {"figures/F3.png"}
    # If all others are up to date, none of them is reported as not run.
    (out / "figures" / "F2.png").unlink()
    status, lines, errors = _cnnvis("render", "02", "03", "--out", out)
    assert (lines, errors) == (["03_alone: up to date"], failure + "\n")


def _asleep(flag: Path) -> str:
    """Return code with which notebook 03 sleeps when it is run for the first time."""
    return (
        "import pathlib, time\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "if NAME == '03_alone' and not flag.exists():\n"
        "    flag.touch()\n"
        "    time.sleep(3600)"
    )


def test_a_killed_render_leaves_no_process_and_resumes(tmp_path, drawn_once):
    out, flag = tmp_path / "out", tmp_path / "asleep"
    arguments = ("render", "02", "03", "--jobs", 2, "-p", "FAULT", _asleep(flag), "--out", out)
    with _notebooks(drawn_once[0] / "notebooks"):
        with _started(*arguments) as command:
            _wait(lambda: flag.exists() and records.record_path(out, "02_reads").exists())
            children = psutil.Process(command.pid).children(recursive=True)
            command.kill()
            command.wait()
            assert len(children) >= 3  # at least two workers and a kernel
            _wait(lambda: not any(process.is_running() for process in children))
        assert not records.record_path(out, "03_alone").exists()
        assert not (out / "figures" / "F3.png").exists()
        written = _written(out)
        status, lines, errors = _cnnvis(*arguments)
    assert (status, errors) == (0, "")
    assert "02_reads: up to date" in lines and _drawn(lines) == ["03_alone"]
    assert written.keys() == {"02_reads"} and written["02_reads"] == _written(out)["02_reads"]
    assert not list(out.glob(".cnnvis-staging-*"))


@pytest.mark.parametrize("chosen", [["03"], ["02", "03"]], ids=["one job", "two jobs"])
def test_a_render_locks_its_folder_and_reports_an_interrupt(out, tmp_path, chosen):
    before, written, flag = _content(out), _written(out), tmp_path / "asleep"
    jobs = len(chosen)
    arguments = ("render", *chosen, "--jobs", jobs, "-p", "FAULT", _asleep(flag), "--out", out)
    with _started(*arguments) as command:
        # One of two workers has finished its notebook.
        _wait(lambda: flag.exists() and (jobs == 1 or _written(out) != written))
        status, lines, errors = _cnnvis("render", "--force", "--out", out)
        assert (status, lines) == (2, [])
        assert (
            errors == f"cnnvis: another command is writing to {out}; wait, or give another --out\n"
        )
        children = psutil.Process(command.pid).children(recursive=True)
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does
        printed, errors = command.communicate()
    assert command.returncode == 130
    assert _drawn(printed.splitlines()) == (["02_reads"] if jobs == 2 else [])
    assert errors == "cnnvis: interrupted; the same command resumes from here\n"
    _wait(lambda: not any(process.is_running() for process in children))
    after = _content(out)
    assert all(after[file] == before[file] for file in before if "03" in file or "F3" in file)
    assert not list(out.glob(".cnnvis-staging-*"))


def test_a_killed_worker_is_one_line(out):
    before = _content(out)
    code = "import os; os.kill(os.getppid(), 9)"
    arguments = ("render", "02", "03", "-p", "FAULT", code, "--out", out)
    with _started(*arguments) as command:
        printed, errors = command.communicate()
    assert (command.returncode, printed) == (2, "")
    assert errors.startswith("cnnvis: a worker process was killed") and errors.count("\n") == 1
    assert _content(out) == before


def test_a_missing_or_incomplete_figure_is_a_failure(out, monkeypatch, tmp_path):
    known = notebooks.read_all()
    (job,) = render.plan(["03"], known, preset="default", overrides={}, out=out)
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: None)
    with pytest.raises(render.Failed, match="without run"):
        execute.execute(job, tmp_path, on_progress=print)
    tiny_notebooks.execute_without_kernel(job, tmp_path)
    execute.execute(job, tmp_path, on_progress=print)
    for harm in (b"half", None):
        file = tmp_path / "figures" / "F3.png"
        file.write_bytes(harm) if harm else file.unlink()
        with pytest.raises(render.Failed, match="figure F3 is missing or incomplete"):
            execute.execute(job, tmp_path, on_progress=print)


def test_a_full_disk_is_one_line_and_changes_no_result(out, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = _content(out)
    monkeypatch.setattr(execute, "execute", full)
    status, lines, errors = _cnnvis("render", "03", "--force", "--out", out)
    assert (status, lines) == (1, []) and "No space left on device" in errors
    assert errors.count("\n") == 1
    assert _content(out) == before


def test_a_failed_cell_has_the_number_that_jupyter_shows_beside_it(tmp_path):
    """The k-th line of code that is run is the k-th cell that papermill is given."""
    rows = [  # kind, source, tag, and the number beside it
        ("markdown", "# Title", "", 0), ("code", "", "", 0),
        ("code", "X: int = 1", "parameters", 1),
        ("markdown", "text", "", 0), ("code", "first", "", 2), ("markdown", "task", "exercise", 0),
        ("code", "stub", "exercise", 3), ("code", "answer", "solution", 4), ("code", " ", "", 0),
        ("code", "last", "", 5),
    ]  # fmt: skip
    cells = []
    for kind, source, tag, _ in rows:
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cells.append(make(source, metadata={"tags": [tag] if tag else []}))
    path = tmp_path / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    executed = [row for row in rows if row[2] not in ("exercise", "solution")]
    executed.insert(3, ("code", "OUT = 'x'", "injected-parameters", 1))
    for index, (_, source, _, number) in enumerate(executed):
        if number:
            assert execute._shown_number(path, index) == number, source


# --- plans


def _plan(folder: Path, *names: str, **overrides: object) -> list[str]:
    known = notebooks.read_all(folder)
    jobs = render.plan(names, known, preset="default", overrides=overrides, out=folder / "out")
    return [job.notebook.name for job in jobs]


def test_a_plan_contains_every_needed_notebook_before_those_that_need_it(tmp_path):
    needs = {"05": ("04", "02"), "04": ("03",), "03": (), "02": ("03",), "01": ()}
    for name, needed in needs.items():
        tiny_notebooks.write(tmp_path, name, figure=f"F{name}", needs=needed)
    assert _plan(tmp_path, "05") == ["03", "02", "04", "05"]
    assert _plan(tmp_path, "02", "01") == ["01", "03", "02"]
    assert sorted(_plan(tmp_path)) == sorted(needs)
    order = _plan(tmp_path)
    assert all(order.index(n) < order.index(name) for name in needs for n in needs[name])


def test_a_parameter_must_exist_in_the_named_notebooks_but_not_in_needed_ones(tmp_path):
    more = tiny_notebooks.PARAMETERS + "MORE: int = 1  # only here\n"
    tiny_notebooks.write(tmp_path, "01_plain")
    tiny_notebooks.write(tmp_path, "02_more", figure="F2", needs=("01_plain",), parameters=more)
    assert _plan(tmp_path, "02", MORE="3") == ["01_plain", "02_more"]
    with pytest.raises(NameNotFound, match="no parameter of 01_plain named 'MORE'"):
        _plan(tmp_path, "01", "02", MORE="3")
    with pytest.raises(InputError, match="MORE = 'few': expected int"):
        _plan(tmp_path, "02", MORE="few")


def test_cycles_unknown_needs_and_duplicate_figures_are_refused(tmp_path):
    tiny_notebooks.write(tmp_path, "01_a", figure="F1", needs=("02_b",))
    tiny_notebooks.write(tmp_path, "02_b", figure="F2", needs=("01_a",))
    with pytest.raises(InputError, match="need each other: 0"):
        _plan(tmp_path)
    tiny_notebooks.write(tmp_path, "02_b", figure="F2", needs=("03_c",))
    with pytest.raises(NameNotFound, match="no notebook named '03_c'"):
        _plan(tmp_path)
    tiny_notebooks.write(tmp_path, "02_b", figure="F1")
    with pytest.raises(InputError, match="02_b and 01_a both draw F1"):
        _plan(tmp_path)
    assert _plan(tmp_path, "02") == ["02_b"]
