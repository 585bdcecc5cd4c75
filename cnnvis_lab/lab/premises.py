"""What tasks need on the machine where they run: the same code, weights and data as here."""

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..core import LabError, files
from .dependencies import code_digest
from .executors import forget_dask_memory_setting
from .records import PACKAGE


class Premises(NamedTuple):
    """What must be the same wherever tasks of a command run.

    Attributes:
        code: Python code that uses what of the package the tasks use.
        digest: digest of all that it depends on, see `code_digest`.
        inputs: path and digest of files and folders; those of the package relative to it.
    """

    code: str
    digest: str
    inputs: tuple[tuple[str, str], ...]


def find_premises(code: str, data: str | Path = "") -> Premises:
    """Return what tasks need, from what this process has read so far.

    Args:
        code: Python code that uses what of the package the tasks use.
        data: folder of images, which is compared as a whole.

    Raises:
        FileError: the folder does not exist.
    """
    folder = Path(data).resolve() if data else None
    inputs = {
        path: digest
        for path, digest in files.recorded_inputs().items()
        if not (folder and Path(path).is_relative_to(folder))
    }
    if folder:
        inputs[str(folder)] = files.digest(folder)
    listed = ((_within_package(Path(path)), digest) for path, digest in inputs.items())
    return Premises(code, code_digest(code), tuple(sorted(listed)))


@lru_cache(maxsize=4)
def check(premises: Premises) -> None:
    """Check that this process, which runs a task, has what the command has, and prepare it.

    Raises:
        LabError: something is missing or different here; the message names worker and file.
    """
    forget_dask_memory_setting()
    for path, digest in premises.inputs:
        file = PACKAGE / path
        if not file.exists():
            raise LabError(f"{worker_name()}: {file} is missing there; make it readable there")
        if files.digest(file) != digest:
            changed = "names, sizes or times of its files" if file.is_dir() else "content"
            raise LabError(
                f"{worker_name()}: {file} differs there in {changed}; copy it there, with times"
            )
    if code_digest(premises.code) != premises.digest:
        raise LabError(
            f"{worker_name()}: the code of cnnvis_lab, or the version of Python or of a package, "
            "differs there; install the same"
        )


def worker_name() -> str:
    """Return what distinguishes this process among those that run tasks."""
    return f"worker {socket.gethostname()} (process {os.getpid()})"


def _within_package(path: Path) -> str:
    inside = path.is_relative_to(PACKAGE)
    return path.relative_to(PACKAGE).as_posix() if inside else str(path)
