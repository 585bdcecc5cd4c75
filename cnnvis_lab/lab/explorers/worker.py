"""Requests answered on a thread of their own, where always the latest wins.

Callbacks of widgets may come on any thread, at any time, and while a cell runs. So a network is
looked into through a copy that shares its weights and has hooks of its own, one request at a time.
"""

import threading
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from copy import deepcopy
from time import monotonic
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

Value = TypeVar("Made")
PREVIEW_INTERVAL = 0.15  # seconds between pictures of a request that is still at work


class Isolated(NamedTuple):
    """A network to look into, and the lock to hold meanwhile."""

    model: nn.Module
    lock: AbstractContextManager


_copies: WeakKeyDictionary[nn.Module, Isolated] = WeakKeyDictionary()
_copy_lock = threading.Lock()


def isolated_copy(model: nn.Module) -> Isolated:
    """Return a copy of a network with the same weights and hooks of its own, and its one lock.

    Cells of a notebook go on using the network itself while a panel uses the copy.
    """
    with _copy_lock:
        if model not in _copies:
            shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
            _copies[model] = Isolated(deepcopy(model, shared), threading.RLock())
        return _copies[model]


def cached(known: dict, key: Hashable, make: Callable[[], Value], most: int = 16) -> Value:
    """Return what was made for a key, or make it; the oldest goes where there are too many."""
    if key not in known:
        known[key] = make()
        while len(known) > most:
            known.pop(next(iter(known)), None)
    return known[key]


class Request:
    """A request at work.

    Attributes:
        settings: what was asked for.
        model: the network to look into, this request's own while it works.
        latest: whether no later request has come.
    """

    def __init__(
        self,
        settings: dict[str, object],
        show: Callable[[object], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.settings, self.latest = settings, True
        self.model: nn.Module = nn.Identity()
        self._show, self._progress, self._shown = show, on_progress, 0.0
        self._ending = threading.Event()

    def end(self) -> None:
        """Ask it to end with what there is."""
        self._ending.set()

    def should_stop(self) -> bool:
        """Whether it is to end."""
        return self._ending.is_set()

    def progress(self, done: int, total: int) -> None:
        """Say how much of the work is done."""
        if self._progress and self.latest:
            self._progress(done, total)

    def preview(self, make: Callable[[], object]) -> None:
        """Show what there is already, unless that was done a moment ago."""
        if self._show and self.latest and monotonic() - self._shown > PREVIEW_INTERVAL:
            self._show(make())
            self._shown = monotonic()


class LatestOnlyWorker:
    """One worker, which lives while there is something to answer.

    Attributes:
        state: held while requests change hands; what only the latest may do is done under it.
    """

    def __init__(self, make: Callable[[dict], Request], answer: Callable[[Request], None]) -> None:
        self.state = threading.RLock()
        self._make, self._answer = make, answer
        self._wanted: dict[str, object] | None = None
        self._job: Request | None = None
        self._worker: threading.Thread | None = None

    def request(self, settings: dict[str, object]) -> None:
        """Ask for something; what was asked before is told to end, and is not the latest now."""
        with self.state:
            at_work = self._job.settings if self._job and not self._job.should_stop() else None
            if settings == (self._wanted or at_work):
                return
            self._wanted = settings
            if self._job:
                self._job.latest = False
                self._job.end()
            if not self._worker:
                self._worker = threading.Thread(target=self._work, name="explorer", daemon=True)
                self._worker.start()

    def stop(self) -> None:
        """End the request at work with what there is."""
        with self.state:
            if self._job:
                self._job.end()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all is answered; return whether it is."""
        worker = self._worker
        if worker:
            worker.join(seconds)
        return self._worker is None

    def _work(self) -> None:
        while True:
            with self.state:
                settings, self._wanted = self._wanted, None
                if settings is None:
                    self._worker = self._job = None
                    return
                self._job = self._make(settings)
            self._answer(self._job)
