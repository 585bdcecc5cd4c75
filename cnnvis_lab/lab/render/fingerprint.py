"""Fingerprints of notebooks: do outputs still match parameters, code, weights and data?"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ...core import FileError, files, prefixed
from ..dependencies import code_digest
from ..notebooks import Notebook
from ..records import changed_inputs, damaged_outputs, read_record, result_digests

# What turns a notebook into its executed copy, besides the notebook's own code.
_EXECUTION = "from cnnvis_lab.lab.render import execute\nexecute.execute, execute.clean_notebook\n"
_WRITTEN = "folder to record in"  # in the comment of a parameter, see `inputs`


def _strip_magics(code: str) -> str:
    return re.sub(r"^([ \t]*)(%%?\w|!).*", r"\1pass", code, flags=re.M)


def dependencies(notebook: Notebook, parameters: dict) -> dict[str, object]:
    """Return all that a notebook's outputs depend on and that is known before its run.

    Dependencies known only at run time (weights and data read, outputs of required notebooks) are
    stored in the record and checked by `is_up_to_date`.

    Args:
        notebook: the notebook.
        parameters: its resolved parameters.

    Returns:
        Its source, its parameters, and a digest of the code that it uses.

    Raises:
        FileError: code cells, or a module of the library, that are not Python.
    """
    try:
        code = code_digest(_EXECUTION + _strip_magics(notebook.code))
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise FileError(f"{notebook.path.name}: not Python: {line!r} ({error.msg})") from None
    given = {name: value for name, value in parameters.items() if name != "OUT"}
    for name, parameter in notebook.parameters.items():
        if _WRITTEN in parameter.help and given.get(name):  # the run creates the folder
            with prefixed(f"{notebook.name}: {name}"):
                given[name] = str(files.expand(given[name]).resolve())
    return {"source": notebook.source, "parameters": resolve_paths(given), "code": code}


def fingerprint(depends: object) -> str:
    """Return a digest of `dependencies`, or of one of them."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def resolve_paths(value: Any) -> Any:
    """Return a value with absolute paths in place of relative ones to what exists."""
    if isinstance(value, list):
        return [resolve_paths(item) for item in value]
    if isinstance(value, dict):
        return {key: resolve_paths(item) for key, item in value.items()}
    if not isinstance(value, str) or not value:
        return value
    try:
        path = Path(value).expanduser()
        return str(path.resolve()) if path.exists() else files.resolve_source(value)
    except (OSError, RuntimeError, ValueError):  # too long, no home folder, or no path
        return value


def is_up_to_date(out: Path, notebook: Notebook, expected: str) -> bool:
    """Return whether the outputs are complete, undamaged and have the expected fingerprint.

    Args:
        out: the results folder.
        notebook: the notebook.
        expected: its current fingerprint.
    """
    record = read_record(out, notebook.name)
    if record is None or record["key"] != expected:
        return False
    if record["needed"] != result_digests(out, notebook.needs):
        return False
    return not changed_inputs(record) and not damaged_outputs(out, record)
