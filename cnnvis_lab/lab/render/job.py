"""A job: one notebook to bring up to date, and the plan of all jobs in order of dependency."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from ...core import InputError, LabError, not_found
from .. import notebooks
from ..notebooks import Notebook
from ..parameters import parse_value
from ..records import read_record
from .fingerprint import dependencies, fingerprint

Check = Callable[[Notebook, Mapping[str, object]], None]
STAGING = "staging"  # purpose of the scratch folders that notebooks write to


@dataclass(frozen=True)
class Job:
    """One notebook to bring up to date.

    Attributes:
        notebook: its declarations.
        preset: "smoke", "default" or "paper".
        overrides: parameters that differ from the preset, by name.
        parameters: all parameters, by name.
        fingerprint: digest of what the outputs depend on.
        out: the results folder.
        parts: digests of parts of it, which only say what has changed.
        is_checked: whether what its parameters name was opened.
    """

    notebook: Notebook
    preset: str
    overrides: dict[str, object]
    parameters: dict[str, object]
    fingerprint: str
    out: Path
    parts: dict[str, str]
    is_checked: bool = False

    def command(self) -> str:
        """Return the command line that renders this notebook again."""
        words = ["cnnvis", "render", self.notebook.name]
        words += ["--preset", self.preset] if self.preset != "default" else []
        for name, value in sorted(self.overrides.items()):
            words += ["-p", name, value if isinstance(value, str) else repr(value)]
        return shlex.join(words)


class Failed(LabError):
    """A notebook did not run to its end."""


def plan(
    names: Sequence[str],
    known: Mapping[str, Notebook],
    *,
    preset: str,
    overrides: Mapping[str, object],
    out: Path,
    check: Check | None = None,
) -> list[Job]:
    """Choose the notebooks to run, in order of dependency, and check every parameter.

    Args:
        names: names of notebooks or their beginnings; none means all.
        known: every notebook by name.
        preset: "smoke", "default" or "paper".
        overrides: parameter -> value; a text is parsed as the parameter's type.
        out: the results folder.
        check: called with each notebook that was not drawn with its parameters yet, and these;
            mistakes in them are reported before code is searched for changes, which is slow.

    Raises:
        NameNotFound: an unknown notebook, parameter or preset.
        InputError: a value of the wrong type, notebooks with circular dependencies, or
            two notebooks with the same figure.
    """
    if "OUT" in overrides:
        raise InputError("OUT is set by --out; leave it out of -p")
    for name, value in {**overrides, "--out": str(out)}.items():
        _check_text(name, value)
    requested = [notebooks.find(name, known).name for name in names] or list(known)
    order = _in_dependency_order(requested, known)
    _check_figures([known[name] for name in order])
    given = {
        name: _applicable_overrides(known[name], overrides, strict=name in requested)
        for name in order
    }
    parameters = {name: known[name].resolve(preset, given[name]) for name in order}
    checked = []
    if check:
        checked = [name for name in order if not _was_drawn(out, name, parameters[name])]
        for name in checked:
            check(known[name], parameters[name])
    jobs = []
    for name in order:
        depends = dependencies(known[name], parameters[name])
        parts = {part: fingerprint(depends[part]) for part in ("source", "code")}
        key, is_checked = fingerprint(depends), name in checked
        jobs.append(
            Job(known[name], preset, given[name], parameters[name], key, out, parts, is_checked)
        )
    return jobs


def _check_figures(chosen: Sequence[Notebook]) -> None:
    sources: dict[str, str] = {}
    for notebook in chosen:
        for figure in notebook.figures:
            if figure in sources:
                both = f"{sources[figure]} and {notebook.name}"
                raise InputError(f"{both} both draw {figure}; rename one")
            sources[figure] = notebook.name


def _was_drawn(out: Path, name: str, parameters: Mapping[str, object]) -> bool:
    """Whether a notebook was drawn with the same parameters, whatever has changed since."""
    record = read_record(out, name)
    return record is not None and {**record["parameters"], "OUT": ""} == {**parameters, "OUT": ""}


def _check_text(name: str, value: object) -> None:
    """Check that the executed notebook can contain a value."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} {value!r}: expected text in UTF-8") from None


def _in_dependency_order(names: Sequence[str], known: Mapping[str, Notebook]) -> list[str]:
    """Return the notebooks and all that they need, each after what it needs."""
    graph: dict[str, tuple[str, ...]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise not_found("notebook", name, known)
        if name not in graph:
            graph[name] = known[name].needs
            waiting += graph[name]
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise InputError(f"notebooks need each other: {' -> '.join(error.args[1])}") from None
    order: list[str] = []
    while sorter:
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _applicable_overrides(
    notebook: Notebook, overrides: Mapping[str, object], strict: bool
) -> dict[str, object]:
    """Return the overrides that a notebook has as parameters; strict refuses the others."""
    applicable = {}
    for name, value in overrides.items():
        if name in notebook.parameters:
            parameter = notebook.parameters[name]
            is_text = isinstance(value, str)
            applicable[name] = parse_value(parameter, value) if is_text else value
        elif strict:
            raise notebook.unknown_parameter(name)
    return applicable
