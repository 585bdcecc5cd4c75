"""Execute one notebook with papermill, verify that it succeeded, and publish its outputs."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from ...core import files
from .. import environment, notebooks, records
from . import pages
from .job import Failed, Job

# Run by a kernel first: as it ends, ipykernel drops tasks, of which asyncio would tell the user.
_QUIET = "__import__('logging').getLogger('asyncio').setLevel('CRITICAL')"


def execute(
    job: Job, staging: Path, on_progress: Callable[[int, int], None], folder: str = ""
) -> None:
    """Run a notebook; its outputs are written to a staging folder.

    Papermill's status fields do not distinguish a dead kernel from success; the record that the
    notebook's last cell writes does.

    Args:
        job: the notebook and its parameters.
        staging: an empty folder.
        on_progress: called with the number of the cell that begins and the number of cells.
        folder: to which paths are relative, if it exists; empty for that of this process.

    Raises:
        Failed: a cell failed, the kernel died, or a declared figure is missing.
    """
    for noisy in ("papermill", "traitlets"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # errors are raised, too
    source = staging / "source.ipynb"
    cells = _write_without_exercises(job.notebook.path, source) + 1  # the injected parameters
    try:
        # Kernels show images in place of interactive panels.
        with environment.variable("CNNVIS_INTERACTIVE", "0"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about this process, not the run
            papermill.execute_notebook(
                # Papermill formats its paths with the parameters: braces must be doubled.
                _escape_braces(source),
                _escape_braces(staging / "executed.ipynb"),
                {**job.parameters, "OUT": str(staging)},
                kernel_name="python3",
                cwd=folder if folder and Path(folder).is_dir() else None,
                progress_bar=False,
                log_output=False,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
                extra_arguments=["--log-level=CRITICAL", f"--IPKernelApp.exec_lines={_QUIET}"],
                on_cell_start=lambda cell, cell_index: on_progress(cell_index + 1, cells),
            )
    except PapermillExecutionError as error:
        raise Failed(_describe_failure(job, error)) from None
    except (DeadKernelError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Failed(f"the kernel died ({reason}); is there enough memory?") from None
    _verify_outputs(job, staging)


def _write_without_exercises(path: Path, out: Path) -> int:
    """Write a notebook without its exercises; return the number of cells."""
    try:
        content = _read_notebook(path)
        cells = [c for c in content["cells"] if not notebooks.EXERCISE_TAGS & notebooks.tags(c)]
        content["cells"] = cells
        nbformat.write(content, out)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # by nbformat
        reason = " ".join(str(error).split())[:200]
        raise Failed(f"{path.name} cannot be read as a notebook ({reason})") from None
    return len(cells)


def _read_notebook(path: Path) -> nbformat.NotebookNode:
    return cast(nbformat.NotebookNode, nbformat.read(path, as_version=4))


def _escape_braces(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")


def _describe_failure(job: Job, error: PapermillExecutionError) -> str:
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    reason = " ".join(str(error.evalue).split())
    number = _shown_number(job.notebook.path, error.cell_index)
    return f"cell [{number}] ({first.strip()[:60]}): {error.ename}: {reason}"


def _shown_number(path: Path, executed_index: int) -> int:
    """Return the number that Jupyter shows beside a cell after all cells were run.

    Args:
        path: the notebook, which also has exercises.
        executed_index: of the cell in what was executed: without exercises, and with a cell of
            given parameters after the declared ones.
    """
    cells = _read_notebook(path)["cells"]
    kept = [n for n, c in enumerate(cells) if not notebooks.EXERCISE_TAGS & notebooks.tags(c)]
    declared = next(n for n, cell in enumerate(cells) if "parameters" in notebooks.tags(cell))
    after = kept.index(declared) < executed_index
    position = kept[executed_index - after]
    shown = cells[: position + 1]
    return sum(cell["cell_type"] == "code" and bool(cell["source"].strip()) for cell in shown)


def _verify_outputs(job: Job, staging: Path) -> None:
    record_file = staging / "run.json"
    if not record_file.is_file():
        raise Failed("ran to its end without run.finish(); the last cell must call it")
    record = json.loads(record_file.read_text())
    for id in job.notebook.figures:
        figure = record["figures"].get(id, {})
        file = staging / figure.get("file", "missing")
        if not file.is_file() or files.digest(file) != figure.get("sha256"):
            raise Failed(f"figure {id} is missing or incomplete")


def publish(job: Job, staging: Path, seconds: float) -> None:
    """Move a verified run's files into the results folder, the record last.

    Args:
        job: the notebook that was run.
        staging: the folder of its outputs.
        seconds: duration of the run.
    """
    name, out = job.notebook.name, job.out
    previous = records.read_record(out, name) or {"outputs": {}}
    record = json.loads((staging / "run.json").read_text())
    executed = clean_notebook(_read_notebook(staging / "executed.ipynb"))
    (staging / "notebooks").mkdir()
    nbformat.write(executed, staging / "notebooks" / f"{name}.ipynb")
    pages.write(staging, job.notebook, executed)
    outputs = {}
    records.record_path(out, name).unlink(missing_ok=True)
    for folder in records.OUTPUT_FOLDERS:
        (out / folder).mkdir(exist_ok=True)
        for file in sorted((staging / folder).glob("*")):
            shutil.move(file, out / folder / file.name)
            outputs[f"{folder}/{file.name}"] = files.digest(out / folder / file.name)
    for file in records.intact_outputs(out, previous) - set(outputs):
        (out / file).unlink(missing_ok=True)
    record |= {
        "key": job.fingerprint,
        "parts": job.parts,
        "page": pages.fingerprint(),
        "preset": job.preset,
        "command": job.command(),
        "needed": records.result_digests(out, job.notebook.needs),
        "outputs": outputs,
        "seconds": round(seconds, 1),
    }
    records.write_record(out, name, record)


def clean_notebook(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove times, paths and widget state, so that equal runs give equal files.

    Args:
        notebook: an executed notebook, which is changed.
    """
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.id = "injected-parameters"
            lines = [line for line in cell.source.splitlines() if not line.startswith("OUT =")]
            cell.source = "\n".join(lines)
    return notebook
