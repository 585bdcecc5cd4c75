"""Web pages of executed notebooks; each is made again when what makes it has changed."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...core import files
from .. import gallery
from ..dependencies import code_digest
from ..notebooks import Notebook
from ..records import read_record, write_record

if TYPE_CHECKING:
    from nbformat import NotebookNode

_MAKER = (
    "from cnnvis_lab.lab.gallery import notebook\nnotebook.notebook_page\nimport mistune\nmistune"
)


@cache
def fingerprint() -> str:
    """Return a digest of what makes a page from an executed notebook: code, templates, packages."""
    templates = [files.digest(file) for file in gallery.html.template_files("document.html")]
    return hashlib.sha256("\n".join([code_digest(_MAKER), *templates]).encode()).hexdigest()


def write(folder: Path, notebook: Notebook, executed: "NotebookNode") -> str:
    """Write the page of an executed notebook; return its path in the folder.

    Args:
        folder: of results.
        notebook: the notebook's declarations.
        executed: the notebook with its outputs.
    """
    file = f"notebooks/{notebook.name}.html"
    html = gallery.notebook.notebook_page(executed, notebook.title)
    files.write_atomically(folder / file, html)
    return file


def is_current(out: Path, notebook: Notebook) -> bool:
    """Return whether the page was made as it would be now; also without any results.

    Args:
        out: the results folder.
        notebook: the notebook.
    """
    record = read_record(out, notebook.name)
    return record is None or record.get("page") == fingerprint()


def refresh(out: Path, notebook: Notebook) -> bool:
    """Make the page again, without running the notebook, unless it is current.

    Args:
        out: the results folder, in which the notebook is up to date.
        notebook: the notebook.

    Returns:
        Whether the page was made.
    """
    record = read_record(out, notebook.name)
    if record is None or is_current(out, notebook):
        return False
    import nbformat  # slow to import

    executed = nbformat.read(out / "notebooks" / f"{notebook.name}.ipynb", as_version=4)
    file = write(out, notebook, cast("NotebookNode", executed))
    record["outputs"][file] = files.digest(out / file)
    write_record(out, notebook.name, record | {"page": fingerprint()})
    return True
