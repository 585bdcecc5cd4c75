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
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread

from ...core import FileError, InputError
from .. import gallery
from ..notebooks import Notebook
from . import fingerprint
from .job import Failed, Job

Report = Callable[[str], None]


@contextmanager
def _lock_folder(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / ".lock").open("w")
    except OSError as error:
        raise FileError(f"cannot write to {out} ({error.strerror}); give --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another render is writing to {out}; wait, or give --out") from None
        _remove_staging(out)  # what a killed run left behind
        try:
            yield
        finally:
            _remove_staging(out)


def _remove_staging(out: Path) -> None:
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
    with _lock_folder(out):
        with _executor(workers) as pool:
            failed = _run_all(jobs, pool, workers, force, keep_going, report)
        gallery.build(out, dict(known))
    return len(failed)


class _SerialExecutor(Executor):
    """Runs what it is given in this process, one after the other."""

    def submit(self, call: Callable, /, *args: object) -> Future:
        future: Future = Future()
        future.set_result(call(*args))
        return future


@contextmanager
def _executor(workers: int) -> Iterator[Executor]:
    """Give what runs the jobs; no worker outlives the block, however it ends."""
    if workers == 1:
        yield _SerialExecutor()
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_initialize_worker)
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


def _initialize_worker() -> None:
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
            if not (lost or force) and fingerprint.is_up_to_date(job.out, job.notebook, job.key):
                report(f"{name}: up to date")
            elif lost or (failed and not keep_going):
                report(f"{name}: not run, {(lost or failed)[0]} failed")
                failed.append(name)
            else:
                running[pool.submit(_run_job, job)] = name
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            _record_outcome(running.pop(future), future.result(), failed, report)
    return failed


def _record_outcome(name: str, outcome: str | float, failed: list[str], report: Report) -> None:
    if isinstance(outcome, str):
        failed.append(name)
        report(f"{name}: {outcome}")
    else:
        report(f"{name}: drawn in {outcome:.0f} s")


def _run_job(job: Job) -> str | float:
    """Run one notebook; return its seconds, or the line that says why it failed."""
    from .execute import (
        execute,
        publish,  # papermill is slow to import
    )

    start = time.perf_counter()
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=job.out))
    try:
        execute(job, staging, on_progress=_cell_progress(job))
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
