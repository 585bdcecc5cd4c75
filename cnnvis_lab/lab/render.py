"""Runs notebooks headlessly, each only when something it depends on has changed."""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from multiprocessing import get_context
from pathlib import Path

from ..core.errors import InputError, LabError, not_found
from . import keys, notebooks
from .notebooks import Notebook

Report = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One notebook to be brought up to date."""

    notebook: Notebook
    preset: str
    overrides: dict[str, object]
    parameters: dict[str, object]
    key: str
    out: Path


class Failed(LabError):
    """A notebook did not run through."""


def plan(
    chosen: Sequence[str],
    known: Mapping[str, Notebook],
    *,
    preset: str,
    overrides: Mapping[str, str | object],
    out: Path,
) -> list[Job]:
    """Decide what is to be run, in order of dependency, and check every parameter.

    Args:
        chosen: notebook names or beginnings; none means all.
        known: every notebook.
        preset: "smoke", "default" or "paper".
        overrides: parameter -> value, or its text from the command line.
        out: the results folder.

    Raises:
        NameNotFound: an unknown notebook, parameter or preset.
        InputError: a value of the wrong type, or notebooks that need each other in a circle.
    """
    named = [notebooks.find(name, dict(known)).name for name in chosen] or list(known)
    jobs: dict[str, Job] = {}
    for name in _in_order(named, known):
        notebook = known[name]
        own = _overrides(notebook, overrides, strict=name in named)
        values = notebook.resolve(preset, own)
        needed = {need: jobs[need].key for need in notebook.needs}
        jobs[name] = Job(notebook, preset, own, values, keys.key(notebook, values, needed), out)
    return list(jobs.values())


def _in_order(named: Sequence[str], known: Mapping[str, Notebook]) -> list[str]:
    graph: dict[str, tuple[str, ...]] = {}
    waiting = list(named)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise not_found("notebook", name, known)
        if name not in graph:
            graph[name] = known[name].needs
            waiting += graph[name]
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise InputError(f"notebooks need each other: {' -> '.join(error.args[1])}") from None
    return sorted(order, key=lambda name: (_depth(name, graph), name))


def _depth(name: str, graph: Mapping[str, tuple[str, ...]]) -> int:
    return 1 + max((_depth(need, graph) for need in graph[name]), default=0)


def _overrides(
    notebook: Notebook, given: Mapping[str, str | object], strict: bool
) -> dict[str, object]:
    """The overrides a notebook takes; one that was named must know them all."""
    own = {}
    for name, value in given.items():
        if name not in notebook.parameters:
            if strict:
                raise not_found(f"parameter of {notebook.name}", name, notebook.parameters)
            continue
        parameter = notebook.parameters[name]
        own[name] = notebooks.parse_value(parameter, value) if isinstance(value, str) else value
    return own


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another render is writing to {out}; wait, or give --out") from None
        for left in out.glob(".staging-*"):  # what a killed run left behind
            shutil.rmtree(left, ignore_errors=True)
        yield


def render(
    jobs: Sequence[Job],
    known: Mapping[str, Notebook],
    *,
    workers: int = 1,
    force: bool = False,
    keep_going: bool = False,
    report: Report = print,
) -> int:
    """Bring notebooks up to date and rebuild the gallery; return how many failed.

    Args:
        jobs: what `plan` gave.
        known: every notebook, for the gallery.
        workers: notebooks run at the same time.
        force: run them even where nothing has changed.
        keep_going: after a failure, go on with what does not need the failed one.
        report: takes a line of text for each notebook.
    """
    if not jobs:
        return 0
    out = jobs[0].out
    with _locked(out):
        stale = [job for job in jobs if force or not keys.fresh(out, job.notebook.name, job.key)]
        for job in jobs:
            if job not in stale:
                report(f"{job.notebook.name}: up to date")
        failed = _run_all(stale, workers, keep_going, report) if stale else []
        if stale or not (out / "index.html").is_file():
            from . import gallery

            gallery.build(out, dict(known))
    return len(failed)


def _run_all(jobs: list[Job], workers: int, keep_going: bool, report: Report) -> list[str]:
    """Run jobs as soon as what they need is done; return the names that failed."""
    waiting = {job.notebook.name: job for job in jobs}
    running: dict[Future, str] = {}
    failed: list[str] = []
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers > 1 else None
    try:
        while waiting or running:
            for name, job in list(waiting.items()):
                lost = [need for need in job.notebook.needs if need in failed]
                if lost or (failed and not keep_going):
                    report(f"{name}: not run, {lost[0] if lost else failed[0]} failed")
                    failed.append(waiting.pop(name).notebook.name)
                elif not any(n in waiting or n in running.values() for n in job.notebook.needs):
                    del waiting[name]
                    if pool is None:
                        _note(name, _attempt(job), failed, report)
                    elif len(running) < workers:
                        running[pool.submit(_attempt, job)] = name
                    else:
                        waiting[name] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in done:
                _note(running.pop(future), future.result(), failed, report)
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    return failed


def _note(name: str, outcome: str | float, failed: list[str], report: Report) -> None:
    if isinstance(outcome, str):
        failed.append(name)
        report(f"{name}: {outcome}")
    else:
        report(f"{name}: drawn in {outcome:.0f} s")


def _attempt(job: Job) -> str | float:
    """Run one notebook; return its seconds, or the line that says why it failed."""
    from .execute import execute

    start = time.perf_counter()
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=job.out))
    try:
        execute(job, staging, progress=_cell_progress(job))
        seconds = time.perf_counter() - start
        from .execute import publish

        publish(job, staging, seconds)
        return seconds
    except Failed as error:
        return str(error)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _cell_progress(job: Job) -> Callable[[int, int], None]:
    def say(cell: int, of: int) -> None:
        if sys.stderr.isatty() and not os.environ.get("CNNVIS_QUIET"):
            end = "\n" if cell == of else "\r"
            print(f"{job.notebook.name}: cell {cell}/{of}   ", end=end, file=sys.stderr, flush=True)

    return say
