"""Records of results folders: what each notebook read, drew and measured."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from ..core import FileError, files

PACKAGE = Path(__file__).parents[1]
OUTPUT_FOLDERS = ("figures", "arrays", "notebooks")  # below a results folder


def record_path(out: Path, name: str) -> Path:
    """Return the file of a notebook's record, which is written after all other outputs."""
    return out / "records" / f"{name}.json"


def read_record(out: Path, name: str) -> dict | None:
    """Return a notebook's record; None if it is missing or incomplete.

    Raises:
        FileError: a value of the wrong type, or a path that leads out of the folders of outputs.
    """
    file = record_path(out, name)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _PARTS.keys():
        return None
    problem = next((part for part, fits in _PARTS.items() if not fits(record[part])), "")
    if problem:
        raise FileError(f"{file} is no record of a render (its {problem} are odd); remove it")
    stray = next((path for path in _paths(record) if not _is_output(out, path)), None)
    if stray is not None:
        raise FileError(f"{file} names {stray!r}, which is no output of a render; remove the file")
    return record


def check_readable(out: Path, names: Iterable[str]) -> None:
    """Check that the records that exist can be read; `render` makes damaged ones again.

    Raises:
        FileError: one cannot.
    """
    for name in names:
        file = record_path(out, name)
        if file.is_file() and read_record(out, name) is None:
            raise FileError(f"{file} is damaged; `cnnvis render {name}` makes it again")


def _paths(record: dict) -> list[str]:
    """Return the paths in a record that are relative to the results folder."""
    entries = record["figures"].values()
    return [*record["outputs"], *(e[k] for e in entries for k in ("file", "arrays") if k in e)]


def _is_output(out: Path, path: str) -> bool:
    """Whether a path is a plain file name in one of the folders of outputs, without links."""
    folder, _, name = path.partition("/")
    is_plain = name.isprintable() and not name.startswith(".") and not {"/", "\\"} & {*name}
    if folder not in OUTPUT_FOLDERS or not name or not is_plain:
        return False
    return (out / path).resolve().is_relative_to(out.resolve())


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _maps_to(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _is_figure(entry: object) -> bool:
    if not isinstance(entry, dict) or not entry.keys() >= {"file", "caption", "alt"}:
        return False
    claims = entry.get("claims", [])
    texts = [value for key, value in entry.items() if key != "claims"]
    return isinstance(claims, list) and all(map(_is_text, [*texts, *claims]))


def _is_claim(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"measured", "holds", "note"}:
        return False
    measured, holds = entry["measured"], entry["holds"]
    is_measured = _is_number(measured) and isinstance(holds, bool)
    return _is_text(entry["note"]) and (is_measured or measured is holds is None)


_PARTS: dict[str, Callable[[object], bool]] = {  # of a record, and what each of them must be
    "key": _is_text,
    "preset": _is_text,
    "command": _is_text,
    "seconds": _is_number,
    "needed": _maps_to(_is_text),
    "inputs": _maps_to(_is_text),
    "outputs": _maps_to(_is_text),
    "parameters": lambda value: isinstance(value, dict),
    "metrics": _maps_to(_is_number),
    "figures": _maps_to(_is_figure),
    "claims": _maps_to(_is_claim),
}


def write_record(out: Path, name: str, record: dict) -> None:
    """Write a notebook's record.

    Args:
        out: the results folder.
        name: the notebook's.
        record: its content.
    """
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    files.write_atomically(record_path(out, name), text)


def result_digests(out: Path, names: Iterable[str]) -> dict[str, str]:
    """Return notebook -> digest of the figures, metrics and claims in its record."""
    digests = {}
    for name in names:
        record = read_record(out, name) or {}
        results = {part: record.get(part) for part in ("figures", "metrics", "claims")}
        digests[name] = hashlib.sha256(json.dumps(results, sort_keys=True).encode()).hexdigest()
    return digests


def changed_inputs(record: dict) -> list[str]:
    """Return the files that a run read and that are missing or different now."""
    return [path for path, was in record["inputs"].items() if _digest_or_none(Path(path)) != was]


def damaged_outputs(out: Path, record: dict) -> list[str]:
    """Return the files that a run wrote and that are missing or different now."""
    return [file for file, was in record["outputs"].items() if _digest_or_none(out / file) != was]


def intact_outputs(out: Path, record: dict) -> set[str]:
    """Return the files that a run wrote and nobody has changed since."""
    return set(record["outputs"]) - set(damaged_outputs(out, record))


def _digest_or_none(path: Path) -> str | None:
    try:
        return files.digest(path)
    except (OSError, ValueError):  # such as one that may not be read, or is no path
        return None
