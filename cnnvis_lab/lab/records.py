"""Tells whether a notebook's outputs are still those of its parameters, code, weights and data."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ..core import FileError, files

PACKAGE = Path(__file__).parents[1]
_RECORD_KEYS = {"key", "needed", "inputs", "outputs", "parameters", "figures", "claims", "seconds"}


def record_path(out: Path, name: str) -> Path:
    """Where a notebook's record lies; it is written last, so it vouches for the rest."""
    return out / "records" / f"{name}.json"


def read_record(out: Path, name: str) -> dict | None:
    """Return a notebook's record, or None where there is none that can be read."""
    try:
        record = json.loads(record_path(out, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.keys() >= _RECORD_KEYS else None


def result_digests(out: Path, names: Iterable[str]) -> dict[str, str]:
    """Notebook -> digest of what it has drawn and measured, as its record says."""
    found = {}
    for name in names:
        record = read_record(out, name) or {}
        drawn = {part: record.get(part) for part in ("figures", "metrics", "claims")}
        found[name] = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()
    return found


def changed_inputs(record: dict) -> list[str]:
    """Files a run had read that are gone or different now."""
    return [path for path, was in record["inputs"].items() if _digest_or_none(Path(path)) != was]


def damaged_outputs(out: Path, record: dict) -> list[str]:
    """Files a run had written that are gone or different now."""
    return [file for file, was in record["outputs"].items() if _digest_or_none(out / file) != was]


def _digest_or_none(path: Path) -> str | None:
    try:
        return files.digest(path)
    except FileError:
        return None
