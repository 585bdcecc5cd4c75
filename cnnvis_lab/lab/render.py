"""Runs notebooks headlessly, each only when something it depends on has changed."""

import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread

from ..core.errors import FileProblem, InputError, LabError, not_found
from . import gallery, keys, notebooks
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
        InputError: a value of the wrong type, notebooks that need each other in a circle, or two
            that draw the same figure.
    """
    named = [notebooks.find(name, dict(known)).name for name in chosen] or list(known)
    jobs: list[Job] = []
    drawn: dict[str, str] = {}
    for name in _in_order(named, known):
        notebook = known[name]
        own = _overrides(notebook, overrides, strict=name in named)
        values = notebook.resolve(preset, own)
        jobs.append(Job(notebook, preset, own, values, keys.key(notebook, values), out))
        for figure in notebook.figures:
            if figure in drawn:
                raise InputError(f"{drawn[figure]} and {name} both draw {figure}; rename one")
            drawn[figure] = name
    return jobs


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
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise FileProblem(f"cannot write to {out} ({error.strerror}); give --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another render is writing to {out}; wait, or give --out") from None
        _sweep(out)  # what a killed run left behind
        try:
            yield
        finally:
            _sweep(out)


def _sweep(out: Path) -> None:
    for left in out.glob(".staging-*"):
        shutil.rmtree(left, ignore_errors=True)


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
        with _pool(workers) as pool:
            failed = _run_all(jobs, pool, workers, force, keep_going, report)
        gallery.build(out, dict(known))
    return len(failed)


class _InTurn(Executor):
    """Runs what it is given in this process, one after the other."""

    def submit(self, call: Callable, /, *args: object) -> Future:
        future: Future = Future()
        future.set_result(call(*args))
        return future


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """Give what runs the jobs; no worker outlives the block, however it ends."""
    if workers == 1:
        yield _InTurn()
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise Failed(
            "a worker process was killed; is there memory enough? The same command goes on"
        ) from None
    except BaseException:
        for worker in active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave Ctrl-C to the main process, and end when that ends, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = parent_process()
    Thread(target=lambda: (main.join(), os._exit(1)), daemon=True).start()


def _run_all(
    jobs: Sequence[Job],
    pool: Executor,
    workers: int,
    force: bool,
    keep_going: bool,
    report: Report,
) -> list[str]:
    """Bring each job up to date as soon as what it needs is; return the names that failed."""
    waiting = {job.notebook.name: job for job in jobs}
    running: dict[Future, str] = {}
    failed: list[str] = []
    while waiting or running:
        for name, job in list(waiting.items()):
            needs, ahead = job.notebook.needs, {*waiting, *running.values()}
            if len(running) >= workers or ahead & set(needs):
                continue
            del waiting[name]
            lost = [need for need in needs if need in failed]
            if not (lost or force) and keys.fresh(job.out, job.notebook, job.key):
                report(f"{name}: up to date")
            elif lost or (failed and not keep_going):
                report(f"{name}: not run, {(lost or failed)[0]} failed")
                failed.append(name)
            else:
                running[pool.submit(_attempt, job)] = name
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            _note(running.pop(future), future.result(), failed, report)
    return failed


def _note(name: str, outcome: str | float, failed: list[str], report: Report) -> None:
    if isinstance(outcome, str):
        failed.append(name)
        report(f"{name}: {outcome}")
    else:
        report(f"{name}: drawn in {outcome:.0f} s")


def _attempt(job: Job) -> str | float:
    """Run one notebook; return its seconds, or the line that says why it failed."""
    from .execute import execute, publish  # papermill is slow to import

    start = time.perf_counter()
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=job.out))
    try:
        execute(job, staging, progress=_cell_progress(job))
        seconds = time.perf_counter() - start
        publish(job, staging, seconds)
        return seconds
    except Failed as error:
        return str(error)
    except OSError as error:  # such as a full disk
        return f"its files could not be written ({error})"
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _cell_progress(job: Job) -> Callable[[int, int], None]:
    def say(cell: int, of: int) -> None:
        if sys.stderr.isatty() and not os.environ.get("CNNVIS_QUIET"):
            end = "\n" if cell == of else "\r"
            print(f"{job.notebook.name}: cell {cell}/{of}   ", end=end, file=sys.stderr, flush=True)

    return say
