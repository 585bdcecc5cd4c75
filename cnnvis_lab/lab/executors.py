"""Where tasks run: in this process, in several processes of this machine, or on a Dask cluster."""

import asyncio
import atexit
import os
import sys
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib import import_module
from logging import CRITICAL, getLogger
from multiprocessing import active_children, get_context
from threading import Event, Thread
from time import monotonic
from typing import Any

from ..core import InputError, LabError, keep_freed_memory, tasks

CONNECT_SECONDS = 5
LOST_SECONDS = 60  # a cluster without workers for longer is lost
LOST = "is there enough memory? The same command resumes"


class Lost(LabError):
    """Workers or a cluster that are gone; what was done before can be resumed."""


class _SerialExecutor(Executor):
    """Runs each call in this process at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def open_executor(workers: int = 1, cluster: str = "") -> Generator[Executor]:
    """Provide an executor; no task or worker process of it outlives the block, however it ends.

    Tasks of a cluster that run when the block ends stop where they call `stop_if_cancelled`.

    Args:
        workers: number of processes of this machine; with 1, tasks run in this process.
        cluster: address of a Dask scheduler such as "tcp://10.0.0.1:8786", or "local" for one with
            `workers` processes of this machine; empty for none.

    Raises:
        InputError: nothing answers at the address, or Dask is not installed.
        Lost: a worker process was killed, or the cluster was lost.
    """
    if cluster:
        with _on_cluster(workers, cluster) as executor:
            yield executor
    elif workers == 1:
        yield _SerialExecutor()
    else:
        with _in_processes(workers) as executor:
            yield executor


@contextmanager
def _in_processes(workers: int) -> Generator[Executor]:
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=tasks.initialize_worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise Lost(f"a worker process was killed; {LOST}") from None
    except BaseException:
        for worker in active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _on_cluster(workers: int, address: str) -> Generator[Executor]:
    """Provide Dask's executor; tasks that are not done at the end of the block are cancelled."""
    try:
        dask = import_module("distributed")
    except ImportError:
        raise InputError('a cluster needs Dask; run pip install -e ".[cluster]"') from None
    local = None
    if address == "local":
        local = dask.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    try:
        asyncio.run(_reach(local.scheduler_address if local else address))
    except Exception:  # also a time-out, and whatever an address that is none gives
        raise InputError(f"no Dask scheduler answers at {address}; check the address") from None
    # What it would say of a cluster that is gone, the command says in one line.
    getLogger("distributed.client").setLevel(CRITICAL)
    client = dask.Client(local or address, timeout=CONNECT_SECONDS)
    begun = _prepare_workers(client) if local else []
    executor = client.get_executor(pure=False)
    ended, why = Event(), [f"the cluster at {address} was lost"]
    Thread(target=_watch, args=(client, executor, ended, why), daemon=True).start()
    try:
        yield executor
    except dask.scheduler.KilledWorker as error:
        task = getattr(error, "__notes__", [error.task])[0]
        raise Lost(f"{task}: its workers were killed, one after another; {LOST}") from None
    except CancelledError:
        raise Lost(f"{why[-1]}; the same command resumes") from None
    finally:
        ended.set()
        begun.clear()
        with suppress(Exception):  # of a scheduler that is gone, and with it the tasks
            executor.shutdown(wait=False)  # which cancels them
        with suppress(Exception):
            client.close()
        if local:
            local.close()


def _prepare_workers(client: Any) -> list[Any]:
    """Begin to prepare workers of this machine, while this process prepares tasks for them.

    Returns:
        The futures, which must be kept until then.
    """
    given = _prepare_worker, "torch" in sys.modules  # a command that uses it has imported it
    return [client.submit(*given, workers=[name], pure=False) for name in client.nthreads()]


def _prepare_worker(torch: bool) -> None:
    """Import torch if tasks need it; leave at the end without taking it apart, which is slow."""
    atexit.register(os._exit, 0)
    if torch:
        import_module("torch")


async def _reach(address: str) -> None:
    """Connect once, since a client that cannot connect leaves its traces on the error stream."""
    comm = await import_module("distributed.comm").connect(address, timeout=CONNECT_SECONDS)
    await comm.close()


def _watch(client: Any, executor: Executor, ended: Event, why: list[str]) -> None:
    """Cancel the tasks of a cluster that has had no workers for long, which would wait for ever."""
    seen = monotonic()
    while not ended.wait(min(1, LOST_SECONDS / 4)):
        with suppress(Exception):  # of a scheduler that is gone; the tasks are then cancelled
            if client.scheduler_info()["workers"]:
                seen = monotonic()
        if monotonic() - seen > LOST_SECONDS:
            why.append(f"the cluster has had no workers for {LOST_SECONDS} s; start some")
            executor.shutdown(wait=False)
            return


def forget_dask_memory_setting() -> None:
    """Let this process, and notebooks that it starts, use memory that they free again.

    Dask starts workers with a setting of the C library by which they return it to the system at
    once.
    """
    if os.environ.pop("MALLOC_TRIM_THRESHOLD_", ""):
        keep_freed_memory()


def stop_if_cancelled() -> None:
    """End the task that calls this if its command has ended: Dask does not stop running tasks.

    Raises:
        CancelledError: the command has ended.
    """
    if "distributed" not in sys.modules:
        return
    dask = import_module("distributed")
    try:
        worker = dask.get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
    except (AttributeError, ValueError):  # not in a task
        return
    if task is None or task.state == "cancelled":
        raise CancelledError
