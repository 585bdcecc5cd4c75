"""Synthetic scenes that the processes of a machine draw once for all of them."""

import shutil
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from . import environment

VARIABLE = "CNNVIS_SCENES"  # of the environment, in which scenes look for their folder
NEEDED = 4 * 2**30  # bytes; a render of all notebooks fills an eighth of them


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


@contextmanager
def sharing_notebooks() -> Generator[None]:
    """Let notebooks whose kernels start inside the block share the scenes that each draws.

    Without enough space for them, each notebook draws its own.
    """
    with shared_scenes() as shared:
        if shutil.disk_usage(shared.folder).free < NEEDED:
            yield
            return
        with environment.variable(VARIABLE, shared.folder):
            yield
