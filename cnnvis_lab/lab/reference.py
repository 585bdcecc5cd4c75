"""The reference of the Python interface as offline pages, made by pdoc."""

import warnings
from pathlib import Path

from ..core import InputError, files

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about type aliases that are loaded on first use
        pdoc.pdoc(PACKAGE, output_directory=out)
    return out / "index.html"
