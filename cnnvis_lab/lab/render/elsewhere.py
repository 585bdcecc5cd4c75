"""Notebooks that workers of a cluster run: they share no folder, and files come back whole."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...core import LabError, prefixed, scratch
from .. import inputs, notebooks, premises, records
from ..executors import stop_if_cancelled
from ..premises import Premises
from .fingerprint import dependencies, fingerprint, resolve_paths
from .job import STAGING, Failed, Job

Files = dict[str, bytes]  # path, relative to a folder -> content


class Result(NamedTuple):
    """What a worker gives back.

    Attributes:
        seconds: duration of the run.
        files: the outputs, as they lie in a staging folder.
        worker: the worker's name.
        package: where the package lies there.
    """

    seconds: float
    files: Files
    worker: str
    package: str


def submit(executor: Executor, job: Job) -> Future[Result | str]:
    """Begin to run a notebook on a worker.

    Args:
        executor: of a cluster.
        job: the notebook and its parameters.
    """
    needed: Files = {}
    for name in job.notebook.needs:
        record = records.read_record(job.out, name) or {"outputs": {}}
        needed |= {file: (job.out / file).read_bytes() for file in record["outputs"]}
    found = premises.find_premises("")
    return executor.submit(_run, job, needed, found, os.getcwd(), resolve_paths(job.parameters))


def _run(
    job: Job, needed: Files, found: Premises, folder: str, absolute: Mapping[str, object]
) -> Result | str:
    """Run a notebook on the worker that calls this; return its files, or why it failed.

    Args:
        job: the notebook and its parameters.
        needed: outputs of the notebooks that it needs.
        found: what must be equal here.
        folder: where the command runs, to which paths are relative.
        absolute: the parameters, with absolute paths.
    """
    from . import execute  # papermill is slow to import

    start = time.perf_counter()
    try:
        premises.check(found)
        with prefixed(premises.worker_name()):
            notebook = notebooks.find(job.notebook.name, notebooks.read_all())
            if fingerprint(dependencies(notebook, dict(absolute))) != job.fingerprint:
                raise LabError("the notebook or its code differs there; install the same")
            inputs.check(notebook, absolute)
        with tempfile.TemporaryDirectory(prefix="cnnvis-render-") as temporary:
            here = replace(job, notebook=notebook, out=Path(temporary))
            _write(here.out, needed)
            staging = here.out / STAGING
            staging.mkdir()
            execute.execute(here, staging, lambda cell, cells: stop_if_cancelled(), folder)
            files = {
                file.relative_to(staging).as_posix(): file.read_bytes()
                for file in staging.rglob("*")
                if file.is_file()
            }
    except LabError as error:
        return str(error)
    except OSError as error:  # such as a full disk
        return f"{premises.worker_name()}: its files could not be written ({error})"
    seconds = time.perf_counter() - start
    return Result(seconds, files, premises.worker_name(), str(records.PACKAGE))


def publish(job: Job, result: Result) -> str | float:
    """Publish what a worker gave back; return its seconds, or why it cannot be used.

    Args:
        job: the notebook that was run.
        result: what came back.
    """
    from . import execute

    staging = scratch.make(job.out, STAGING)
    try:
        _write(staging, result.files)
        record = json.loads((staging / "run.json").read_text())
        record["inputs"] = {
            _here(path, result.package): digest for path, digest in record["inputs"].items()
        }
        if changed := records.changed_inputs(record):
            raise Failed(f"{result.worker} read {changed[0]}, which is missing or different here")
        (staging / "run.json").write_text(json.dumps(record))
        execute.publish(job, staging, result.seconds)
        return result.seconds
    except Failed as error:
        return str(error)
    except OSError as error:
        return f"its files could not be written ({error})"
    finally:
        scratch.remove(staging)


def _here(path: str, package: str) -> str:
    """Return where a file that a worker read lies here, if it belongs to the package."""
    inside = Path(path).is_relative_to(package)
    return str(records.PACKAGE / Path(path).relative_to(package)) if inside else path


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
