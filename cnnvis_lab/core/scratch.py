"""Scratch folders: temporary work beside results, which nothing else is named like.

Each is called `.cnnvis-PURPOSE-...` and contains a file, the mark, that says who made it. Nothing
without the mark is ever removed, whatever its name.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from .errors import FileError

MARK = ".cnnvis-scratch"  # the file that marks a scratch folder; its text is the purpose


def make(parent: str | Path, purpose: str, key: str = "") -> Path:
    """Create a scratch folder, or find the one of that key from an interrupted run.

    Args:
        parent: an existing folder.
        purpose: one word, such as "render".
        key: identifies the work, so that it can resume; empty for a new folder each time.

    Raises:
        FileError: the folder cannot be created, or one of that name is not ours.
    """
    start = f".cnnvis-{purpose}-"
    try:
        if not key:
            folder = Path(tempfile.mkdtemp(prefix=start, dir=parent))
        else:
            folder = Path(parent) / f"{start}{key}"
            if folder.exists() and not _is_marked(folder, purpose):
                raise FileError(f"{folder} was not made by this program; rename it")
            folder.mkdir(exist_ok=True)
        (folder / MARK).write_text(purpose)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            f"cannot write to {parent} ({error.strerror}); choose another folder"
        ) from None
    return folder


def remove_all(parent: str | Path, purpose: str, keep: Path | None = None) -> None:
    """Remove the marked scratch folders of a purpose.

    Args:
        parent: the folder in which they were made.
        purpose: as given to `make`.
        keep: one that stays.
    """
    for folder in Path(parent).glob(f".cnnvis-{purpose}-*"):
        if folder != keep and _is_marked(folder, purpose):
            remove(folder)


def _is_marked(folder: Path, purpose: str) -> bool:
    mark = folder / MARK
    try:
        return not folder.is_symlink() and mark.is_file() and mark.read_text() == purpose
    except (OSError, ValueError):
        return False


def remove(folder: Path) -> None:
    """Remove a folder from `make`, its mark last, so that an interrupted removal can go on.

    Files that cannot be removed stay.
    """
    with suppress(OSError):
        for child in folder.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child, ignore_errors=True)
            elif child.name != MARK:
                child.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
