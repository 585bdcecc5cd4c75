"""Files written whole or not at all, content digests, and the record of what a run has read."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import FileError

_inputs: dict[str, str] = {}
_written: set[str] = set()


@contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it into place only if the block succeeds.

    Args:
        path: the file to write; its folder is made if missing.

    Yields:
        The temporary path to write to, with the same ending as `path`.

    Raises:
        FileProblem: nothing can be written there.
    """
    path = Path(path)
    name = _create_partial(path.parent, path.suffix)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
        _written.add(str(path.resolve()))
    finally:
        Path(name).unlink(missing_ok=True)


def _create_partial(folder: Path, suffix: str) -> str:
    """Begin a file in a folder, which is made if missing; return the file's path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=suffix, dir=folder)
    except OSError as error:
        raise FileError(
            f"cannot write to {folder} ({error.strerror}); choose another folder"
        ) from None
    os.close(handle)
    return name


def check_writable(folder: str | Path) -> None:
    """Make a folder if it is missing, and try whether it takes files: before hours of work.

    Raises:
        FileProblem: it does not.
    """
    Path(_create_partial(Path(folder), "")).unlink()


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never half."""
    with replace_atomically(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's file names, sizes and change times.

    Raises:
        FileProblem: nothing is there.
    """
    path = Path(path)
    if path.is_dir():
        state = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            stat = file.stat()
            row = f"{file.relative_to(path).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            state.update(row.encode())
        return state.hexdigest()
    if not path.is_file():
        raise FileError(f"no file or folder at {path}; check the path")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_input(path: str | Path) -> None:
    """Remember that this process has read `path`, so that a run can say what it depends on.

    A file that the process wrote itself is none of its inputs.
    """
    path = Path(path).resolve()
    if str(path) not in _written:
        _inputs[str(path)] = digest(path)


def recorded_inputs() -> dict[str, str]:
    """Return path -> digest of everything noted so far in this process."""
    return dict(_inputs)
