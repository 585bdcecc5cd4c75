"""Synthetic scenes that the processes of a machine draw once for all of them."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple


class SharedScenes(NamedTuple):
    """A folder in which processes of one machine share the scenes that each draws.

    Attributes:
        machine: name of the machine; others cannot map the folder's files into their memory.
        folder: path there; empty to share nothing.
    """

    machine: str = ""
    folder: str = ""

    def here(self) -> str:
        """Return the folder in this process; empty if it is on another machine, or removed."""
        is_here = self.machine == socket.gethostname() and Path(self.folder).is_dir()
        return self.folder if is_here else ""


@contextmanager
def shared_scenes() -> Generator[SharedScenes]:
    """Yield a temporary folder of this machine."""
    with TemporaryDirectory(prefix="cnnvis-", ignore_cleanup_errors=True) as folder:
        yield SharedScenes(socket.gethostname(), folder)
