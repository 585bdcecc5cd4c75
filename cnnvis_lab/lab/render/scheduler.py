"""Run jobs, several at a time, as soon as the notebooks they need are up to date."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from multiprocessing import parent_process
from typing import Any

from ...core import files, printable, scratch, tasks
from .. import gallery, inputs, locks, records
from ..executors import open_executor
from ..notebooks import Notebook
from ..progress import progress_bar
from ..shared_scenes import sharing_notebooks
from . import elsewhere, pages
from .fingerprint import is_up_to_date
from .job import STAGING, Failed, Job

Report = Callable[..., None]  # of a line about a notebook; with failed=True if it failed


def _print(line: str, *, failed: bool = False) -> None:
    """Print a line, of failures on the error stream."""
    print(printable(line), file=sys.stderr if failed else sys.stdout)


def render(
    jobs: Sequence[Job],
    known: Mapping[str, Notebook],
    *,
    workers: int = 1,
    cluster: str = "",
    force: bool = False,
    keep_going: bool = False,
    report: Report = _print,
) -> int:
    """Bring notebooks up to date and rebuild the gallery.

    Args:
        jobs: from `plan`.
        known: every notebook by name, for the gallery.
        workers: number of notebooks run at the same time.
        cluster: address of a Dask scheduler whose workers run them, see `open_executor`.
        force: also run notebooks that are up to date.
        keep_going: after a failure, continue with notebooks that do not need the failed one.
        report: called with a line for each notebook, and whether it failed; prints it by default.

    Returns:
        The number of notebooks that failed.
    """
    if not jobs:
        return 0
    out = jobs[0].out
    stale = [job for job in jobs if force or not _is_current(job)]
    if not stale and _are_pages_current(jobs, known):  # and nothing is written, not even the lock
        for job in jobs:
            report(f"{job.notebook.name}: up to date")
        return 0
    workers = workers if cluster else min(workers, len(stale) or 1)
    with open_executor(workers, cluster) as executor:  # an address is tried first
        for job in stale:
            if not job.is_checked:
                inputs.check(job.notebook, job.parameters)
        limit, submit = workers, partial(executor.submit, _run_job)
        if cluster:
            limit, submit = len(jobs), partial(elsewhere.submit, executor)
        with locks.locked_folder(out):
            scratch.remove_all(out, STAGING)  # the leftovers of killed runs
            files.remove_partial(*(out / folder for folder in (*records.OUTPUT_FOLDERS, "records")))
            gallery.read_records(out, known)  # odd ones are refused before anything is drawn
            try:
                with sharing_notebooks():
                    failed = _run_all(jobs, submit, limit, force, keep_going, report)
            finally:
                scratch.remove_all(out, STAGING)
            gallery.build(out, known)
    return len(failed)


def _is_current(job: Job) -> bool:
    return is_up_to_date(job.out, job.notebook, job.fingerprint)


def _are_pages_current(jobs: Sequence[Job], known: Mapping[str, Notebook]) -> bool:
    """Whether the pages of notebooks and of the gallery are as they would be made now."""
    current = all(pages.is_current(job.out, job.notebook) for job in jobs)
    return current and gallery.is_current(jobs[0].out, known)


def _run_all(
    jobs: Sequence[Job],
    submit: Callable[[Job], Future[Any]],
    limit: int,
    force: bool,
    keep_going: bool,
    report: Report,
) -> list[str]:
    """Run each job as soon as what it needs is up to date; return the names that failed.

    Args:
        jobs: the jobs.
        submit: begins to run one; the result is its seconds, its files, or why it failed.
        limit: number of notebooks run at the same time.
        force: also run notebooks that are up to date.
        keep_going: continue after a failure.
        report: called with a line for each notebook.
    """
    waiting = {job.notebook.name: job for job in jobs}
    running: dict[Future[Any], Job] = {}
    failed: list[str] = []
    while waiting or running:
        for name, job in list(waiting.items()):
            needs, unfinished = (
                job.notebook.needs,
                {*waiting, *(one.notebook.name for one in running.values())},
            )
            if len(running) >= limit or unfinished & set(needs):
                continue
            del waiting[name]
            missing = [need for need in needs if need in failed]
            if not missing and not force and _is_current(job):
                refreshed = pages.refresh(job.out, job.notebook)
                report(f"{name}: up to date{', page made again' if refreshed else ''}")
            elif missing or (failed and not keep_going):
                report(f"{name}: not run, {(missing or failed)[0]} failed", failed=True)
                failed.append(name)
            else:
                running[submit(job)] = job
                if limit > 1 and _is_watched():
                    report(f"{name}: begun")
        for job, outcome in islice(tasks.completed(running, lambda job: job.notebook.name), 1):
            name = job.notebook.name
            if isinstance(outcome, elsewhere.Result):
                outcome = elsewhere.publish(job, outcome)
            if isinstance(outcome, str):
                failed.append(name)
                report(f"{name}: {outcome}", failed=True)
            else:
                report(f"{name}: drawn in {outcome:.0f} s")
    return failed


def _run_job(job: Job) -> str | float:
    """Run one notebook; return its seconds, or the line that says why it failed."""
    from . import execute  # papermill is slow to import

    start = time.perf_counter()
    staging = scratch.make(job.out, STAGING)
    try:
        execute.execute(job, staging, on_progress=_cell_progress(job))
        seconds = time.perf_counter() - start
        execute.publish(job, staging, seconds)
        return seconds
    except Failed as error:
        return str(error)
    except OSError as error:  # such as a full disk
        return f"its files could not be written ({error})"
    finally:
        scratch.remove(staging)


def _is_watched() -> bool:
    return sys.stderr.isatty() and not os.environ.get("CNNVIS_QUIET")


def _cell_progress(job: Job) -> Callable[[int, int], None]:
    # Bars of several processes would overwrite one another.
    if _is_watched() and parent_process() is None:
        return progress_bar(f"{job.notebook.name}, cells")
    return lambda cell, total: None
