"""What a render would do, and why, without doing it."""

from collections.abc import Mapping, Sequence

from .. import gallery, records
from ..notebooks import Notebook
from . import pages
from .job import Job

_CHANGED = {
    "source": "its cells or what it declares changed",
    "code": "code that it uses, or the version of a package, changed",
}


def explain(
    jobs: Sequence[Job], known: Mapping[str, Notebook], *, force: bool = False
) -> list[str]:
    """Return a line for each notebook that says whether it would be drawn, and why.

    Args:
        jobs: from `plan`.
        known: every notebook by name, for the gallery.
        force: as for `render`.

    Raises:
        FileError: a record that is not of a render.
    """
    lines: list[str] = []
    drawn: set[str] = set()
    for job in jobs:
        name = job.notebook.name
        found = reasons(job) + (["--force is given"] if force else [])
        needs = [need for need in job.notebook.needs if need in drawn]
        if found or needs:
            drawn.add(name)
        if found:
            lines.append(f"{name}: would be drawn: {'; '.join(found)}")
        elif needs:
            after = " and ".join(needs)
            lines.append(f"{name}: would be drawn if the results of {after} change")
        else:
            again = "" if pages.is_current(job.out, job.notebook) else ", page would be made again"
            lines.append(f"{name}: up to date{again}")
    if jobs and not drawn and not gallery.is_current(jobs[0].out, known):
        lines.append("the gallery would be made again")
    return lines


def reasons(job: Job) -> list[str]:
    """Return why a notebook is to be drawn; nothing if it is up to date.

    Raises:
        FileError: a record that is not of a render.
    """
    out, name = job.out, job.notebook.name
    record = records.read_record(out, name)
    if record is None:
        exists = records.record_path(out, name).exists()
        return ["its record is damaged" if exists else "it was not drawn yet"]
    found = [] if record["key"] == job.fingerprint else _changed_dependencies(job, record)
    needed = records.result_digests(out, job.notebook.needs)
    found += [f"results of {n} changed" for n in needed if needed[n] != record["needed"].get(n)]
    found += [f"{path}, which it read, changed" for path in records.changed_inputs(record)]
    found += [f"{file} is missing or changed" for file in records.damaged_outputs(out, record)]
    return found


def _changed_dependencies(job: Job, record: dict) -> list[str]:
    """Return what differs, by the record's parameters and parts; older records have no parts."""
    was, now = record["parameters"], {**job.parameters}
    now.pop("OUT", None)
    found = [
        f"{name} is {_shown(now, name)}, was {_shown(was, name)}"
        for name in sorted({*was, *now})
        if _shown(was, name) != _shown(now, name)
    ]
    parts = record.get("parts")
    if isinstance(parts, dict):
        found += [words for part, words in _CHANGED.items() if parts.get(part) != job.parts[part]]
        return found or ["a path among its parameters leads elsewhere"]
    return found or ["its cells, what it declares, or code that it uses changed"]


def _shown(parameters: Mapping[str, object], name: str) -> str:
    return repr(parameters[name]) if name in parameters else "missing"
