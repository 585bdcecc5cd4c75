"""Fingerprints of notebooks: do outputs still match parameters, code, weights and data?"""

import ast
import hashlib
import json
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ...core import FileError, files
from ..notebooks import Notebook
from ..records import PACKAGE, changed_inputs, damaged_outputs, read_record, result_digests

VERSIONED_PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "scikit-image", "papermill")


def library_files(code: str, package: Path = PACKAGE) -> list[Path]:
    """Return the files of the package that some code imports, directly or indirectly.

    Args:
        code: Python code, for instance of a notebook.
        package: the package's folder.
    """
    reached: set[Path] = set()
    waiting = set(_imported_files(_strip_magics(code), package, package.parent))
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting |= (
                _imported_files(file.read_text(encoding="utf-8"), package, file.parent) - reached
            )
    return sorted(reached)


def _strip_magics(code: str) -> str:
    return re.sub(r"^([ \t]*)(%%?\w|!).*", r"\1pass", code, flags=re.M)


@cache  # most notebooks share most modules
def _imported_files(code: str, package: Path, here: Path) -> frozenset[Path]:
    """Return the files of the package that import statements name, with their packages'."""
    files: set[Path] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files |= _module_files(package.parent.joinpath(*alias.name.split(".")), package)
        elif isinstance(node, ast.ImportFrom):
            base = here.joinpath(*[".."] * (node.level - 1)) if node.level else package.parent
            base = base.joinpath(*(node.module or "").split(".")).resolve()
            files |= _module_files(base, package)
            for alias in node.names:
                files |= _module_files(base / alias.name, package)
    return frozenset(files)


def _module_files(target: Path, package: Path) -> set[Path]:
    """Return a module's file and the `__init__` of every package around it."""
    target = target.resolve()
    if not target.is_relative_to(package):
        return set()
    module = target.with_suffix(".py")
    if not module.is_file() and not target.is_dir():
        return set()
    around = [target, *target.parents]
    inits = {p / "__init__.py" for p in around if p.is_relative_to(package)}
    return {file for file in {module, *inits} if file.is_file()}


def fingerprint(notebook: Notebook, parameters: dict) -> str:
    """Return a digest of all that a notebook's outputs depend on and that is known before its run.

    Dependencies known only at run time (weights and data read, outputs of required notebooks) are
    stored in the record and checked by `is_up_to_date`.

    Args:
        notebook: the notebook.
        parameters: its resolved parameters.

    Raises:
        FileError: code cells that are not Python.
    """
    try:
        modules = library_files(notebook.code)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise FileError(f"{notebook.path.name}: not Python: {line!r} ({error.msg})") from None
    code = {file.relative_to(PACKAGE).as_posix(): files.digest(file) for file in modules}
    dependencies = {
        "source": notebook.source,
        "parameters": {name: value for name, value in parameters.items() if name != "OUT"},
        "code": code,
        "versions": {name: version(name) for name in VERSIONED_PACKAGES}
        | {"python": python_version()},
    }
    return hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()


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
