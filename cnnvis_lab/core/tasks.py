"""Tasks that an executor runs elsewhere."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import parent_process
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


def initialize_worker() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main = parent_process()
    assert main is not None
    Thread(target=lambda: (main.join(), os._exit(1)), daemon=True).start()


def completed(
    waiting: dict[Future[Any], T], describe: Callable[[T], str]
) -> Iterator[tuple[T, Any]]:
    """Yield what each task was and what it gave, in the order in which tasks end.

    If one fails, those that ended before are yielded first.

    Args:
        waiting: what each task is; tasks that are done are removed.
        describe: returns a task in words; an error that does not say where it occurred, such as
            that of a process that was killed, gets them as a note.
    """
    while waiting:
        for future in sorted(wait(waiting, return_when=FIRST_COMPLETED).done, key=_has_failed):
            task = waiting.pop(future)
            try:
                result = future.result()
            except Exception as error:
                error.add_note(describe(task))
                raise
            yield task, result


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None
