"""Tells whether a notebook's outputs are still those of its parameters, code, weights and data."""

import ast
import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ..core.errors import FileProblem
from ..core.files import digest
from .notebooks import Notebook

PACKAGE = Path(__file__).parents[1]
_PARTS = {"key", "needed", "inputs", "outputs", "parameters", "figures", "claims", "seconds"}
VERSIONS = ("torch", "torchvision", "numpy", "matplotlib", "scikit-image", "papermill")


def library_files(code: str, package: Path = PACKAGE) -> list[Path]:
    """Return the package's modules that some code imports, directly or through each other.

    Args:
        code: Python, for instance a notebook's code cells.
        package: the package's folder.
    """
    found: set[Path] = set()
    waiting = set(_imported(_without_magics(code), package, package.parent))
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting |= _imported(file.read_text(encoding="utf-8"), package, file.parent) - found
    return sorted(found)


def _without_magics(code: str) -> str:
    return re.sub(r"^([ \t]*)(%%?\w|!).*", r"\1pass", code, flags=re.M)


@cache  # most notebooks share most modules
def _imported(code: str, package: Path, here: Path) -> frozenset[Path]:
    """Files of this package that a module's import statements reach, with their packages'."""
    files: set[Path] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files |= _files(package.parent.joinpath(*alias.name.split(".")), package)
        elif isinstance(node, ast.ImportFrom):
            base = here.joinpath(*[".."] * (node.level - 1)) if node.level else package.parent
            base = base.joinpath(*(node.module or "").split(".")).resolve()
            files |= _files(base, package)
            for alias in node.names:
                files |= _files(base / alias.name, package)
    return frozenset(files)


def _files(target: Path, package: Path) -> set[Path]:
    """The module at a dotted place, and the `__init__` of every package around it."""
    target = target.resolve()
    if not target.is_relative_to(package):
        return set()
    module = target.with_suffix(".py")
    if not module.is_file() and not target.is_dir():
        return set()
    around = [target, *target.parents]
    inits = {p / "__init__.py" for p in around if p.is_relative_to(package)}
    return {file for file in {module, *inits} if file.is_file()}


def key(notebook: Notebook, parameters: dict) -> str:
    """Return the digest of everything known beforehand that a notebook's outputs depend on.

    What only shows while it runs, the weights and pictures it loads and what the notebooks it
    needs have drawn, stands in its record and is compared by `fresh`.

    Args:
        notebook: the notebook.
        parameters: its resolved parameters.

    Raises:
        FileProblem: code cells that are no Python.
    """
    try:
        files = library_files(notebook.code)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise FileProblem(f"{notebook.path.name}: no Python: {line!r} ({error.msg})") from None
    code = {file.relative_to(PACKAGE).as_posix(): digest(file) for file in files}
    everything = {
        "source": notebook.source,
        "parameters": {name: value for name, value in parameters.items() if name != "OUT"},
        "code": code,
        "versions": {name: version(name) for name in VERSIONS} | {"python": python_version()},
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def record_path(out: Path, name: str) -> Path:
    """Where a notebook's record lies; it is written last, so it vouches for the rest."""
    return out / "records" / f"{name}.json"


def read_record(out: Path, name: str) -> dict | None:
    """Return a notebook's record, or None where there is none that can be read."""
    try:
        record = json.loads(record_path(out, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= _PARTS else None


def results(out: Path, names: Iterable[str]) -> dict[str, str]:
    """Notebook -> digest of what it has drawn and measured, as its record says."""
    found = {}
    for name in names:
        record = read_record(out, name) or {}
        drawn = {part: record.get(part) for part in ("figures", "metrics", "claims")}
        found[name] = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()
    return found


def fresh(out: Path, notebook: Notebook, wanted: str) -> bool:
    """Whether the outputs in `out` are complete, unharmed, and those of the wanted key."""
    record = read_record(out, notebook.name)
    if record is None or record["key"] != wanted:
        return False
    if record["needed"] != results(out, notebook.needs):
        return False
    return not changed_inputs(record) and not harmed(out, record)


def changed_inputs(record: dict) -> list[str]:
    """Files a run had read that are gone or different now."""
    return [path for path, was in record["inputs"].items() if _digest(Path(path)) != was]


def harmed(out: Path, record: dict) -> list[str]:
    """Files a run had written that are gone or different now."""
    return [file for file, was in record["outputs"].items() if _digest(out / file) != was]


def _digest(path: Path) -> str | None:
    try:
        return digest(path)
    except FileProblem:
        return None
