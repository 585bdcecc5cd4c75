"""Tells whether a notebook's outputs are still those of its parameters, code, weights and data."""

import ast
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from ..core.errors import FileProblem
from ..core.files import digest
from .notebooks import Notebook

PACKAGE = Path(__file__).parents[1]
VERSIONS = ("torch", "torchvision", "numpy", "matplotlib", "scikit-image", "papermill")


def library_files(code: str, package: Path = PACKAGE) -> list[Path]:
    """Return the package's modules that some code imports, directly or through each other.

    Args:
        code: Python, for instance a notebook's code cells.
        package: the package's folder.
    """
    found: set[Path] = set()
    waiting = _imported(ast.parse(_without_magics(code)), package, package.parent)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting |= _imported(ast.parse(file.read_text()), package, file.parent) - found
    return sorted(found)


def _without_magics(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))


def _imported(tree: ast.AST, package: Path, here: Path) -> set[Path]:
    """Files of this package that a module's import statements reach, with their packages'."""
    files: set[Path] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files |= _files(package.parent.joinpath(*alias.name.split(".")), package)
        elif isinstance(node, ast.ImportFrom):
            base = here.joinpath(*[".."] * (node.level - 1)) if node.level else package.parent
            base = base.joinpath(*(node.module or "").split(".")).resolve()
            files |= _files(base, package)
            for alias in node.names:
                files |= _files(base / alias.name, package)
    return files


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


def key(notebook: Notebook, parameters: dict, needed: dict[str, str]) -> str:
    """Return the digest of everything known beforehand that a notebook's outputs depend on.

    What only shows while it runs, the weights and pictures it loads, stands in its record and is
    compared by `fresh`.

    Args:
        notebook: the notebook.
        parameters: its resolved parameters.
        needed: notebook it needs -> that one's key.
    """
    code = {
        file.relative_to(PACKAGE).as_posix(): digest(file) for file in library_files(notebook.code)
    }
    everything = {
        "source": notebook.source,
        "parameters": {name: value for name, value in parameters.items() if name != "OUT"},
        "code": code,
        "needs": needed,
        "versions": {name: version(name) for name in VERSIONS} | {"python": python_version()},
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def record_path(out: Path, name: str) -> Path:
    """Where a notebook's record lies; it is written last, so it vouches for the rest."""
    return out / "records" / f"{name}.json"


def read_record(out: Path, name: str) -> dict | None:
    """Return a notebook's record, or None where there is none that can be read."""
    try:
        return json.loads(record_path(out, name).read_text())
    except (OSError, ValueError):
        return None


def fresh(out: Path, name: str, wanted: str) -> bool:
    """Whether the outputs in `out` are complete, unharmed, and those of the wanted key."""
    record = read_record(out, name)
    if record is None or record["key"] != wanted:
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
