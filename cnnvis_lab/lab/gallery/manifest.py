"""The manifest of a results folder, its verification, and the table of claims."""

import json
from collections.abc import Mapping
from pathlib import Path

from ...core import FileError
from ..notebooks import Claim, Notebook
from ..records import PACKAGE, check_readable, damaged_outputs, read_record
from ..verdicts import Verdict


def read_records(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    """Return notebook -> record, for notebooks that have one."""
    return {name: record for name in known if (record := read_record(out, name))}


def require_records(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    """Return notebook -> record, of at least one notebook.

    Raises:
        FileError: `out` contains no results, or damaged ones.
    """
    check_readable(out, known)
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
    """Return what can be compared between machines, as JSON: no durations and no local paths."""
    content = {
        name: {key: value for key, value in record.items() if key not in ("seconds", "command")}
        | {
            "inputs": {_portable_path(path): was for path, was in record["inputs"].items()},
            "parameters": {
                key: _portable_path(value) for key, value in record["parameters"].items()
            },
        }
        for name, record in records.items()
    }
    return to_json(content)


def _portable_path(value: object) -> object:
    """Return a path without the folders of this machine; any other value unchanged."""
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path = Path(value)
    is_ours = path.is_relative_to(PACKAGE)
    return path.relative_to(PACKAGE.parent).as_posix() if is_ours else path.name


def verify(out: Path, known: Mapping[str, Notebook]) -> list[str]:
    """Return one line for each file that is missing or differs from its recorded hash.

    Raises:
        FileError: `out` contains no results, or only damaged records.
    """
    records = read_records(out, known) or require_records(out, known)
    problems = [
        f"{name}: {file} is missing or changed"
        for name, record in records.items()
        for file in damaged_outputs(out, record)
    ]
    manifest = out / "manifest.json"
    if not manifest.is_file() or manifest.read_bytes() != manifest_json(records).encode():
        problems.append("manifest.json, or a record that it lists, is missing or changed")
    return problems


def claims_table(out: Path, known: Mapping[str, Notebook]) -> list[dict]:
    """Return every declared claim with its measured number; None if it was not measured.

    Raises:
        FileError: a record is damaged.
    """
    check_readable(out, known)
    rows = []
    for name, notebook in known.items():
        measured = (read_record(out, name) or {}).get("claims", {})
        for claim in notebook.claims:
            row = {"notebook": name, **vars(claim), "measured": None, "holds": None, "note": ""}
            rows.append(row | measured.get(claim.id, {}))
    return rows
