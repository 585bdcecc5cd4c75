"""Records of results folders: what each notebook read, drew and measured."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ..core import FileError, files

PACKAGE = Path(__file__).parents[1]
_RECORD_KEYS = {"key", "needed", "inputs", "outputs", "parameters", "figures", "claims", "seconds"}


def record_path(out: Path, name: str) -> Path:
    """Return the file of a notebook's record, which is written after all other outputs."""
    return out / "records" / f"{name}.json"


def read_record(out: Path, name: str) -> dict | None:
    """Return a notebook's record; None if it is missing or unreadable."""
    try:
        record = json.loads(record_path(out, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= _RECORD_KEYS else None


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


def _digest_or_none(path: Path) -> str | None:
    try:
        return files.digest(path)
    except FileError:
        return None
