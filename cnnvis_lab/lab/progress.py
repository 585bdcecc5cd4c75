"""Progress bars on the error stream."""

import sys
from collections.abc import Callable

from tqdm import tqdm

_open_bars: set[tqdm] = set()


def progress_bar(label: str) -> Callable[[int, int], None]:
    """Return a callback for (done, total) that draws a bar, beginning with its first call.

    In a terminal the bar moves in place; in a log file a line appears at most every ten seconds.
    """
    bar: tqdm | None = None

    def update(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            interval = 0.1 if sys.stderr.isatty() else 10
            bar = tqdm(desc=label, total=total, file=sys.stderr, mininterval=interval)
            _open_bars.add(bar)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            _open_bars.discard(bar)

    return update


def close_bars() -> None:
    """Close unfinished bars, so that what is printed next begins on a line of its own."""
    while _open_bars:
        _open_bars.pop().close()
