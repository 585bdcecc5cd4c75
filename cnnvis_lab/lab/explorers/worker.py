"""Requests computed on a background thread; only the latest one counts.

Callbacks of widgets can come on any thread at any time, also while a cell runs. A panel therefore
uses a copy of the network that shares its weights and has its own hooks, one request at a time.
"""

import threading
from collections.abc import Callable, Generator, Hashable
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from ...core import copies
from ...core.optimization import Options

Value = TypeVar("Value")
PREVIEW_INTERVAL = 0.15  # seconds between previews of one request


class Isolated(NamedTuple):
    """A copy of a network, and the lock to hold while it is used."""

    model: nn.Module
    lock: AbstractContextManager


_copies: WeakKeyDictionary[nn.Module, Isolated] = WeakKeyDictionary()
_copy_lock = threading.Lock()


def isolated_copy(model: nn.Module) -> Isolated:
    """Return the copy of a network that has the same weights and its own hooks, and its lock.

    The cells of a notebook can go on using the network while a panel uses the copy.
    """
    with _copy_lock:
        if model not in _copies:
            shared = (*model.parameters(), *model.buffers())
            copy = copies.copy_network(model, shared=shared)
            _copies[model] = Isolated(copy, threading.RLock())
        return _copies[model]


class Stopped(Exception):
    """A computation that was to end, and has no intermediate result."""


class Request:
    """A request that is being computed.

    Attributes:
        settings: the values of the panel's controls.
        model: the network to use.
        is_latest: whether no later request has been submitted.
        arrange: applied to intermediate results.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        on_preview: Callable[[Any], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.settings, self.is_latest = settings, True
        self.model: Any = nn.Identity()  # a Model in most panels
        self._on_preview, self._on_progress, self._preview_time = on_preview, on_progress, 0.0
        self._stopped = threading.Event()
        self.arrange: Callable[[Any], Any] = lambda result: result

    @contextmanager
    def using(self, network: nn.Module) -> Generator[None]:
        """Have the isolated copy of a network as `model` inside the block."""
        copy = isolated_copy(network)
        with copy.lock:
            self.model = copy.model
            yield

    def stop(self) -> None:
        """Ask the computation to end with its intermediate result."""
        self._stopped.set()

    def should_stop(self) -> bool:
        """Whether the computation should end."""
        return self._stopped.is_set()

    def progress(self, done: int, total: int) -> None:
        """Report how much of the work is done."""
        if self._on_progress and self.is_latest:
            self._on_progress(done, total)

    def progress_or_stop(self, done: int, total: int) -> None:
        """Report how much of the work is done; raise `Stopped` if it should end."""
        self.progress(done, total)
        if self.should_stop():
            raise Stopped

    def options(self, view: Callable[[Tensor], object], seed: int = 0) -> Options:
        """Return options of an optimization that shows its images while it runs.

        Args:
            view: makes the view of images.
            seed: of the start.
        """
        return Options(
            seed,
            on_progress=self.progress,
            on_step=lambda images: self.preview(lambda: view(images)),
            should_stop=self.should_stop,
        )

    def preview(self, make: Callable[[], object]) -> None:
        """Show an intermediate result, unless the last one was shown a moment ago."""
        is_due = monotonic() - self._preview_time > PREVIEW_INTERVAL
        if self._on_preview and self.is_latest and is_due:
            self._on_preview(self.arrange(make()))
            self._preview_time = monotonic()


def cached(
    cache: dict[Any, Value],
    key: Hashable,
    make: Callable[[], Value],
    request: Request | None = None,
    max_entries: int = 16,
) -> Value:
    """Return the cached value of a key, or make it.

    Args:
        cache: key -> value, in order of creation.
        key: what identifies the value.
        make: returns the value.
        request: the request for which it is made; what is stopped early is not cached.
        max_entries: the oldest entries beyond this number are removed.
    """
    if key in cache:
        return cache[key]
    value = make()
    if not (request and request.should_stop()):
        cache[key] = value
        while len(cache) > max_entries:
            cache.pop(next(iter(cache)), None)
    return value


class LatestOnlyWorker:
    """One background thread, which lives while there are requests to compute.

    Attributes:
        lock: held while requests are exchanged; hold it for what only the latest request may do.
    """

    def __init__(
        self, make_request: Callable[[dict], Request], on_request: Callable[[Request], None]
    ) -> None:
        self.lock = threading.RLock()
        self._make_request, self._on_request = make_request, on_request
        self._next_settings: dict[str, Any] | None = None
        self._request: Request | None = None
        self._thread: threading.Thread | None = None

    def submit(self, settings: dict[str, Any]) -> None:
        """Submit a request; a running one is asked to stop and its result will be discarded."""
        with self.lock:
            request = self._request
            current = request.settings if request and not request.should_stop() else None
            if settings == (self._next_settings or current):
                return
            self._next_settings = settings
            if request:
                request.is_latest = False
                request.stop()
            if not self._thread:
                self._thread = threading.Thread(target=self._run, name="explorer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the running request with its intermediate result."""
        with self.lock:
            if self._request:
                self._request.stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until no request is left; return whether that is so."""
        if thread := self._thread:
            thread.join(seconds)
        return self._thread is None

    def _run(self) -> None:
        while True:
            with self.lock:
                settings, self._next_settings = self._next_settings, None
                if settings is None:
                    self._thread = self._request = None
                    return
                self._request = self._make_request(settings)
            self._on_request(self._request)
