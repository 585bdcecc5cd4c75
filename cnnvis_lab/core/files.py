"""Atomic file writes, content digests, and a record of the files that this process has read."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import FileError

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".cnnvis-partial-"  # how the names of unfinished files begin
_inputs: dict[str, str] = {}
_written: set[str] = set()


def expand(path: str | Path) -> Path:
    """Return a path with the home folder in place of `~`; nothing has to exist there.

    Raises:
        FileError: nothing can exist there.
    """
    try:
        expanded = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            expanded.lstat()
    except (RuntimeError, ValueError, OSError) as error:  # a null character, no such user, too long
        reason = str(getattr(error, "strerror", None) or error)
        raise FileError(f"{str(path)[:80]} is no path ({reason}); check it") from None
    return expanded


def resolve_source(name: str) -> str:
    """Return a network's name; code of the user's own, `file.py:factory`, with its absolute path.

    Args:
        name: as given.
    """
    place, _, factory = name.rpartition(":")
    return f"{Path(place).expanduser().resolve()}:{factory}" if place.endswith(".py") else name


@contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move the file into place only if the block succeeds.

    Args:
        path: the file to write; its folder is created if missing.

    Yields:
        The temporary path to write to, with the same suffix as `path`.

    Raises:
        FileError: the folder cannot be written to, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path} is a folder; give the name of a file in it")
    name = _create_partial(path.parent, path.suffix)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
        _written.add(str(path.resolve()))
    finally:
        Path(name).unlink(missing_ok=True)


def _create_partial(folder: Path, suffix: str) -> str:
    """Create a temporary file in a folder, which is created if missing; return its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=suffix, dir=folder)
    except OSError as error:
        raise _not_writable(folder, error.errno) from None
    os.close(handle)
    return name


def _not_writable(folder: str | Path, reason: int | None) -> FileError:
    return FileError(
        f"cannot write to {folder} ({os.strerror(reason or 0)}); choose another folder"
    )


def check_writable(folder: str | Path) -> None:
    """Check that files can be written to a folder, or that it can be created; create nothing.

    Raises:
        FileError: files cannot be written there.
    """
    place = expand(folder).absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise _not_writable(folder, errno.ENOTDIR)
    if not os.access(place, os.W_OK | os.X_OK):
        raise _not_writable(folder, errno.EACCES)


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` to `path`; readers see either the old file or the whole new one."""
    with replace_atomically(path) as partial:
        text = isinstance(content, str)  # names of files may have bytes that are no text
        partial.write_bytes(content.encode(errors="backslashreplace") if text else content)


def write_tensors(
    path: str | Path, tensors: Mapping[str, "Tensor"], about: Mapping[str, str] | None = None
) -> None:
    """Write tensors as a safetensors file, as `write_atomically` does.

    Args:
        path: the file.
        tensors: contiguous, by name.
        about: texts for the file's header; the order of several differs from run to run.
    """
    from safetensors.torch import save  # slow to import

    # In memory: if a disk is full, safetensors raises an error that does not say so by its class.
    write_atomically(path, save(dict(tensors), None if about is None else dict(about)))


def remove_partial(*folders: str | Path) -> None:
    """Remove the unfinished files in folders into which no other process writes.

    Args:
        *folders: where a process that was killed may have left some; subfolders are not searched.
    """
    for folder in folders:
        for leftover in Path(folder).glob(f"{PARTIAL}*"):
            if leftover.is_file():
                leftover.unlink()


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's file names, sizes and times of change.

    Hidden files in a folder, such as those of file managers, do not count.

    Raises:
        FileError: nothing exists at the path.
    """
    path = Path(path)
    if path.is_dir():
        state = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            stat, inside = file.stat(), file.relative_to(path)
            if any(part.startswith(".") for part in inside.parts):
                continue
            row = f"{inside.as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            state.update(row.encode(errors="surrogateescape"))
        return state.hexdigest()
    if not path.is_file():
        raise FileError(f"no file or folder at {path}; check the path")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_input(path: str | Path) -> None:
    """Record that this process has read `path`, for the dependencies of a run.

    Files that the process wrote itself are not recorded.
    """
    path = Path(path).resolve()
    if str(path) not in _written:
        _inputs[str(path)] = digest(path)


def recorded_inputs() -> dict[str, str]:
    """Return path -> digest of all inputs of this process so far."""
    return dict(_inputs)
