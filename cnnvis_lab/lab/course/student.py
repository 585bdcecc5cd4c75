"""Copies of the notebooks for students, without the solutions."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core import FileError, InputError, scratch
from .. import notebooks
from ..notebooks import Notebook


def copies(names: Sequence[str], known: Mapping[str, Notebook]) -> dict[str, str]:
    """Return the copies as file name -> text.

    Args:
        names: names of notebooks or their beginnings; none means all.
        known: every notebook by name.

    Raises:
        NameNotFound: an unknown notebook.
    """
    chosen = [notebooks.find(name, known) for name in names] or known.values()
    return {f"{notebook.name}.ipynb": without_solutions(notebook.path) for notebook in chosen}


def without_solutions(path: Path) -> str:
    """Return a notebook file's text without the cells tagged `solution`.

    Raises:
        FileError: not a notebook.
    """
    notebooks.read(path)  # its error says in one line what is wrong
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    content["cells"] = [c for c in content["cells"] if "solution" not in notebooks.tags(c)]
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()  # halves of characters stay escaped


def write(texts: Mapping[str, str], out: Path, *, force: bool = False) -> list[Path]:
    """Write copies to a folder, all of them or none.

    Args:
        texts: from `copies`.
        out: the folder, which is created if missing; other files in it stay.
        force: replace files of the same names with other contents.

    Returns:
        The files.

    Raises:
        InputError: `out` holds the notebooks themselves, or other files of these names.
        FileError: `out` cannot be written to.
    """
    if out.resolve() == notebooks.folder().resolve():
        raise InputError(f"{out} holds the notebooks with their solutions; choose another folder")
    try:
        other = [name for name, text in texts.items() if _differs(out / name, text)]
        if other and not force:
            raise InputError(f"{out} holds another {other[0]}; choose another folder, or --force")
        out.mkdir(parents=True, exist_ok=True)
        _write_all(texts, out)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot write to {out} ({error.strerror}); choose another") from None
    return [out / name for name in texts]


def _differs(file: Path, text: str) -> bool:
    return os.path.lexists(file) and (not file.is_file() or file.read_bytes() != text.encode())


def _write_all(texts: Mapping[str, str], out: Path) -> None:
    """Write to a temporary folder first, so that a full disk leaves all files unchanged."""
    scratch.remove_all(out, "student")
    staging = scratch.make(out, "student")
    try:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8")
        for name in texts:
            os.replace(staging / name, out / name)
    finally:
        scratch.remove(staging)
