"""Where tasks run: in this process, in several processes of this machine, or on a Dask cluster."""

import os
import signal
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

from ..core import InputError, LabError

CONNECT_SECONDS = 8
LOST = "is there enough memory? The same command resumes"


class _SerialExecutor(Executor):
    """Runs each call in this process at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def open_executor(workers: int = 1, cluster: str = "") -> Generator[Executor]:
    """Provide an executor; no task or worker process of it outlives the block, however it ends.

    Args:
        workers: number of processes of this machine; with 1, tasks run in this process.
        cluster: address of a Dask scheduler such as "tcp://10.0.0.1:8786", or "local" for one with
            `workers` processes of this machine; empty for none.

    Raises:
        InputError: nothing answers at the address, or Dask is not installed.
        LabError: a worker process was killed, or the cluster was lost.
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
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_initialize_worker)
    try:
        yield pool
    except BrokenProcessPool:
        raise LabError(f"a worker process was killed; {LOST}") from None
    except BaseException:
        for worker in active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_worker() -> None:
    """Leave Ctrl-C to the main process, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = parent_process()
    assert main is not None
    Thread(target=lambda: (main.join(), os._exit(1)), daemon=True).start()


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
        client = dask.Client(local or address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError):  # also a time-out
        raise InputError(f"no Dask scheduler answers at {address}; check the address") from None
    executor = client.get_executor(pure=False)
    try:
        yield executor
    except dask.scheduler.KilledWorker as error:
        raise LabError(f"{error.task}: its workers were killed; {LOST}") from None
    except CancelledError:
        raise LabError(f"the cluster at {address} was lost; the same command resumes") from None
    finally:
        executor.shutdown(wait=False)  # which cancels them
        client.close()
        if local:
            local.close()
