"""One malformed input: the command that reads it, and the files that it finds."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """A malformed input.

    Attributes:
        words: the command line, run in a folder of its own.
        write: writes the files that it finds there.
        says: what the answer names.
    """

    words: str
    write: Callable[[Path], object] | None = None
    says: str = ""

    def argv(self) -> list[str]:
        """Return the words of the command line; `\\0` and similar stand for control characters."""
        return [word.encode().decode("unicode_escape") for word in shlex.split(self.words)]


def state(folder: Path) -> dict[str, object]:
    """Return what a folder holds, but for locks and compiled code."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if not {".cnnvis-lock", "__pycache__"} & {*path.parts}
    }


def answer(case: Case, status: int, out: str, errors: str) -> list[str]:
    """Return what is wrong with a command's answer."""
    wrong = []
    if status not in (1, 2):
        wrong.append(f"exit status {status}")
    if out:
        wrong.append(f"standard output {out[:200]!r}")
    if errors.count("\n") != 1 or not errors[:-1].isprintable() or "Traceback" in errors:
        wrong.append(f"not one line: {errors[-600:]!r}")
    if case.says not in errors:
        wrong.append(f"{case.says!r} is not in {errors!r}")
    return wrong
