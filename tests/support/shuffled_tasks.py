"""An executor whose tasks share nothing but bytes with their caller, and end in a random order."""

import pickle
import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Timer
from typing import Any


class ShuffledExecutor(Executor):
    """Runs what was submitted within a moment, in a random order; pickles all that passes it.

    With `fail_at`, that task and all later ones are lost.

    Attributes:
        ended: names of the functions of the tasks that were run, and their arguments.
    """

    def __init__(self, seed: int, fail_at: int = 0) -> None:
        self.ended: list[tuple[str, tuple]] = []
        self._random, self._fail_at = random.Random(seed), fail_at
        self._waiting: list[tuple[Future, bytes]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Add a task."""
        future: Future[Any] = Future()
        self._waiting.append((future, pickle.dumps((fn, args, kwargs))))
        if len(self._waiting) == 1:
            Timer(0.02, self._run).start()
        return future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._random.shuffle(waiting)
        for future, call in waiting:
            fn, args, kwargs = pickle.loads(call)
            try:
                if self._fail_at and len(self.ended) + 1 >= self._fail_at:
                    raise ConnectionError("the workers are gone")
                result = pickle.dumps(fn(*args, **kwargs))
                self.ended.append((fn.__name__, args))
                future.set_result(pickle.loads(result))
            except Exception as error:
                future.set_exception(error)
