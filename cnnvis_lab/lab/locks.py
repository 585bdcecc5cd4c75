"""One command at a time writes to a results folder."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core import FileError, InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # where there is no fcntl, the lock is a file with its owner
    import filelock

LOCK = ".cnnvis-lock"  # file in the folder


@contextmanager
def locked_folder(out: Path) -> Generator[None]:
    """Hold the lock of a folder, which is created if it is missing, and does not stay if empty.

    Args:
        out: the folder.

    Raises:
        FileError: it cannot be written to.
        InputError: another process holds the lock.
    """
    try:
        missing = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / LOCK)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InputError(
            f"another command is writing to {out}; wait, or give another --out"
        ) from None
    except OSError as error:
        raise FileError(f"cannot write to {out} ({error.strerror}); give another --out") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if missing and [file.name for file in out.iterdir()] == [LOCK]:
                (out / LOCK).unlink()
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for folder in missing:
                folder.rmdir()
