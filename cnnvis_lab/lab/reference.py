"""The reference of the Python interface as offline pages, made by pdoc."""

import warnings
from pathlib import Path

from ..core import InputError, files, scratch

PACKAGE = "cnnvis_lab"


def write(out: Path) -> Path:
    """Write a page for each package and module.

    Args:
        out: the folder of the pages.

    Returns:
        The first page.

    Raises:
        InputError: pdoc is not installed.
        FileError: `out` cannot be written to.
    """
    try:
        import pdoc
    except ImportError:
        raise InputError("pdoc is not installed; pip install 'cnnvis-lab[docs]'") from None
    files.check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    staging = scratch.make(out, "reference")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about type aliases that are loaded on first use
            pdoc.pdoc(PACKAGE, output_directory=staging)
        for page in [path for path in staging.rglob("*.*") if path.suffix in (".html", ".js")]:
            target = out / page.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            page.replace(target)
    finally:
        scratch.remove(staging)
    return out / "index.html"
