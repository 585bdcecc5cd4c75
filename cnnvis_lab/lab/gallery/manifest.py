"""The manifest of a results folder, its verification, and the table of claims."""

import json
from collections.abc import Mapping
from pathlib import Path

from ...core import FileError
from ..notebooks import Claim, Notebook
from ..records import PACKAGE, damaged_outputs, read_record
from ..verdicts import Verdict


def read_records(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    """Return notebook -> its record, for those that have one."""
    return {name: record for name in known if (record := read_record(out, name))}


def require_records(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    """Return notebook -> the record of what it drew and measured.

    Raises:
        FileProblem: `out` holds no results.
    """
    records = read_records(out, known)
    if not records:
        raise FileError(f"no results in {out}; expected a folder that `cnnvis render` has filled")
    return records


def verdict(record: dict | None, claim: Claim) -> Verdict | None:
    """Return the verdict on a claim in a record; None if the record has none."""
    measured = (record or {}).get("claims", {}).get(claim.id)
    return measured and Verdict(claim, measured["measured"], measured["note"])


def to_json(content: dict) -> str:
    """Return JSON text with sorted keys."""
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def manifest_json(records: dict[str, dict]) -> str:
    """What another machine can compare: no time, no path of this one."""
    kept = {
        name: {key: value for key, value in record.items() if key not in ("seconds", "command")}
        | {
            "inputs": {_portable_path(path): was for path, was in record["inputs"].items()},
            "parameters": {
                key: _portable_path(value) for key, value in record["parameters"].items()
            },
        }
        for name, record in records.items()
    }
    return to_json(kept)


def _portable_path(value: object) -> object:
    """A path without the folders only this machine has; anything else as it is."""
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    own = Path(value).is_relative_to(PACKAGE)
    return Path(value).relative_to(PACKAGE.parent).as_posix() if own else Path(value).name


def verify(out: Path, known: dict[str, Notebook]) -> list[str]:
    """Return what in `out` is missing or differs from the records' hashes, one line each.

    Raises:
        FileProblem: `out` holds no results.
    """
    records = require_records(out, known)
    problems = [
        f"{name}: {file} is missing or changed"
        for name, record in records.items()
        for file in damaged_outputs(out, record)
    ]
    manifest = out / "manifest.json"
    if not manifest.is_file() or manifest.read_bytes() != manifest_json(records).encode():
        problems.append("manifest.json is missing or changed, or a record it lists is")
    return problems


def claims_table(out: Path, known: dict[str, Notebook]) -> list[dict]:
    """Return every declared claim with what was measured, None where nothing was."""
    rows = []
    for name, notebook in known.items():
        measured = (read_record(out, name) or {}).get("claims", {})
        for claim in notebook.claims:
            row = {"notebook": name, **vars(claim), "measured": None, "holds": None, "note": ""}
            rows.append(row | measured.get(claim.id, {}))
    return rows
