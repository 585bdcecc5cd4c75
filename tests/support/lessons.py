"""Notebooks run in this process, as papermill would run them."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import matplotlib.pyplot as plt

from cnnvis_lab.core import files
from cnnvis_lab.lab import inputs, run
from cnnvis_lab.lab.notebooks import Notebook


def draw(book: Notebook, out: Path, **given: object) -> dict:
    """Run a notebook's lesson at smoke size, without widgets; return its record.

    Args:
        book: the notebook.
        out: folder of its results.
        **given: values of parameters; those that the notebook does not have are left out.
    """
    values = {key: value for key, value in given.items() if key in book.parameters}
    resolved = book.resolve("smoke", {"THREADS": 1, **values, "OUT": str(out)})
    inputs.check(book, resolved)
    out.mkdir(parents=True, exist_ok=True)
    parameters, lesson = book.code.split("\nfrom ", 1)
    space: dict[str, object] = {"__name__": "__main__"}
    try:
        exec(parameters, space)
        space |= resolved
        with (
            mock.patch.object(run, "display"),
            mock.patch.dict(os.environ, CNNVIS_INTERACTIVE="0"),
            mock.patch.dict(files._inputs, clear=True),  # as in a process of its own
        ):
            exec(compile(f"from {lesson}", book.name, "exec"), space)
    finally:
        plt.close("all")
        for value in space.values():
            if isinstance(value, TemporaryDirectory):
                value.cleanup()  # the end of a kernel does it without a warning
    return json.loads((out / "run.json").read_text())
