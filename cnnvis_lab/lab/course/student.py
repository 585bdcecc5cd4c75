"""Copies of the notebooks for students: all of each notebook but the solutions."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...core import FileError, InputError
from .. import notebooks
from ..notebooks import Notebook


def copies(chosen: Sequence[str], known: Mapping[str, Notebook]) -> dict[str, str]:
    """Return file name -> text of the copies of notebooks.

    Args:
        chosen: names or beginnings; none means all.
        known: every notebook.

    Raises:
        NameNotFound: an unknown notebook.
    """
    found = [notebooks.find(name, dict(known)) for name in chosen] or known.values()
    return {notebook.path.name: without_solutions(notebook.path) for notebook in found}


def without_solutions(path: Path) -> str:
    """Return a notebook file's text without the cells tagged `solution`.

    Raises:
        FileProblem: no notebook.
    """
    notebooks.read(path)  # says in one line what is wrong with it
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"] = [c for c in content["cells"] if "solution" not in notebooks.tags(c)]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(texts: Mapping[str, str], out: Path, *, force: bool = False) -> list[Path]:
    """Write copies into a folder, all of them or none.

    Args:
        texts: from `copies`.
        out: the folder, which is made if missing; what else lies in it stays.
        force: replace files of the same names that say something else.

    Returns:
        The files.

    Raises:
        InputError: `out` holds the notebooks themselves, or other files of these names.
        FileProblem: it cannot be written to.
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
    """Write beside the places first, so that a full disk leaves everything as it was."""
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=out))
    try:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8")
        for name in texts:
            os.replace(staging / name, out / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
