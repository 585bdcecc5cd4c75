"""Run cells of hand-ins in kernels of their own, with limits of time and memory."""

import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import psutil
from jupyter_client.manager import KernelManager
from traitlets.config import Config

STARTUP_SECONDS, POLL_SECONDS, GRACE_SECONDS = 120, 0.2, 3


class Limits(NamedTuple):
    """What one cell may use.

    Attributes:
        seconds: of time.
        gigabytes: of memory, by the kernel and the processes that it starts.
    """

    seconds: float = 120
    gigabytes: float = 4


class CellRun(NamedTuple):
    """What became of a cell.

    Attributes:
        seconds: that it took.
        error: in one line; empty if there was none.
        is_alive: whether the kernel can run further cells.
    """

    seconds: float
    error: str = ""
    is_alive: bool = True


class Kernel:
    """A kernel that runs one cell after the other.

    Args:
        manager: of the kernel, which was started.
        limits: of each cell.
    """

    def __init__(self, manager: KernelManager, limits: Limits) -> None:
        self._limits = limits
        self._manager, self._client = manager, manager.client()
        # Not the channel of outputs: endless ones would fill this process's memory.
        self._client.start_channels(iopub=False, stdin=False, hb=False)
        started = self._wait(self._client.kernel_info(), Limits(STARTUP_SECONDS, limits.gigabytes))
        self.error = started.error  # if it did not start

    def run(self, source: str, *, is_setup: bool = False) -> CellRun:
        """Run a cell; one that exceeds a limit is interrupted, or the kernel is killed.

        Args:
            source: of the cell.
            is_setup: it imports packages, and may take as long as a kernel's start.
        """
        request = self._client.execute(
            source,
            store_history=False,
            allow_stdin=False,
            stop_on_error=False,  # or a cell that comes soon after an error is not run
        )
        seconds = max(self._limits.seconds, STARTUP_SECONDS) if is_setup else self._limits.seconds
        return self._wait(request, Limits(seconds, self._limits.gigabytes))

    def close(self) -> None:
        """End the kernel and the processes that it started."""
        self._kill()
        self._client.stop_channels()

    def _kill(self) -> None:
        processes = self._processes()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
        for process in processes:
            with suppress(psutil.Error):
                process.kill()

    def _wait(self, request: str, limits: Limits) -> CellRun:
        start, late = time.monotonic(), ""
        while True:
            with suppress(Empty):
                message = self._client.get_shell_msg(timeout=POLL_SECONDS)
                if message["parent_header"].get("msg_id") == request:
                    seconds = time.monotonic() - start
                    return CellRun(seconds, late or _error(message["content"]))
            seconds = time.monotonic() - start
            if not self._manager.is_alive():
                return CellRun(seconds, late or "the kernel died", is_alive=False)
            if self._memory() > limits.gigabytes * 1e9:
                self._kill()
                return CellRun(seconds, f"needs more than {limits.gigabytes:g} GB", is_alive=False)
            if seconds > limits.seconds + GRACE_SECONDS:
                self._kill()
                return CellRun(seconds, late, is_alive=False)
            if seconds > limits.seconds and not late:
                late = f"takes longer than {limits.seconds:g} s"
                self._manager.interrupt_kernel()

    def _processes(self) -> list[psutil.Process]:
        with suppress(psutil.Error, AttributeError):  # which ended meanwhile
            kernel = psutil.Process(self._manager.provisioner.pid)  # type: ignore[attr-defined]
            return [kernel, *kernel.children(recursive=True)]
        return []

    def _memory(self) -> int:
        total = 0
        for process in self._processes():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total


def _error(content: Mapping[str, Any]) -> str:
    if content.get("status") != "error":
        return ""
    return " ".join(f"{content.get('ename')}: {content.get('evalue')}".split())[:300]


@contextmanager
def _kernel(folder: Path, variables: Mapping[str, str], limits: Limits) -> Generator[Kernel]:
    config = Config({"KernelManager": {"transport_encryption": "auto"}})
    manager = KernelManager(kernel_name="python3", config=config)
    environment = {**os.environ, **variables, "IPYTHONDIR": str(folder.parent / "ipython")}
    quiet = ["--log-level=CRITICAL"]
    manager.start_kernel(cwd=str(folder), env=environment, extra_arguments=quiet)
    kernel = Kernel(manager, limits)
    try:
        yield kernel
    finally:
        kernel.close()


def run_cells(
    cells: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    limits: Limits,
    *,
    setup: int = 0,
) -> Generator[tuple[int, CellRun]]:
    """Run cells in a fresh kernel.

    If a cell ends the kernel, those before and behind it are run in another one.

    Args:
        cells: their sources.
        folder: in which they run.
        variables: of the environment, besides those of this process.
        limits: of each cell.
        setup: the number of cells at the beginning that import packages.

    Yields:
        The number of a cell, and what became of it; several times for one that runs again.
    """
    left_out: set[int] = set()
    while True:
        with _kernel(folder, variables, limits) as kernel:
            if kernel.error:
                raise RuntimeError(f"no kernel starts here ({kernel.error})")
            for number, source in enumerate(cells):
                if number in left_out:
                    continue
                done = kernel.run(source, is_setup=number < setup)
                yield number, done
                if not done.is_alive:
                    left_out.add(number)
                    break
            else:
                return
