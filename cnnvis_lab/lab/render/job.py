"""A job: one notebook to bring up to date, and the plan of all jobs in order of dependency."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from ...core import InputError, LabError, not_found
from .. import notebooks
from ..notebooks import Notebook
from . import fingerprint


def command(name: str, preset: str, overrides: dict[str, object]) -> str:
    """The command that redraws a notebook's figures."""
    words = ["cnnvis", "render", name]
    words += ["--preset", preset] if preset != "default" else []
    for key, value in sorted(overrides.items()):
        text = value if isinstance(value, str) else repr(value)
        words += ["-p", key, text]
    return shlex.join(words)


@dataclass(frozen=True)
class Job:
    """One notebook to be brought up to date."""

    notebook: Notebook
    preset: str
    overrides: dict[str, object]
    parameters: dict[str, object]
    key: str
    out: Path


class Failed(LabError):
    """A notebook did not run through."""


def plan(
    chosen: Sequence[str],
    known: Mapping[str, Notebook],
    *,
    preset: str,
    overrides: Mapping[str, str | object],
    out: Path,
) -> list[Job]:
    """Decide what is to be run, in order of dependency, and check every parameter.

    Args:
        chosen: notebook names or beginnings; none means all.
        known: every notebook.
        preset: "smoke", "default" or "paper".
        overrides: parameter -> value, or its text from the command line.
        out: the results folder.

    Raises:
        NameNotFound: an unknown notebook, parameter or preset.
        InputError: a value of the wrong type, notebooks that need each other in a circle, or two
            that draw the same figure.
    """
    named = [notebooks.find(name, dict(known)).name for name in chosen] or list(known)
    jobs: list[Job] = []
    drawn: dict[str, str] = {}
    for name in _in_dependency_order(named, known):
        notebook = known[name]
        own = _applicable_overrides(notebook, overrides, strict=name in named)
        values = notebook.resolve(preset, own)
        jobs.append(
            Job(notebook, preset, own, values, fingerprint.fingerprint(notebook, values), out)
        )
        for figure in notebook.figures:
            if figure in drawn:
                raise InputError(f"{drawn[figure]} and {name} both draw {figure}; rename one")
            drawn[figure] = name
    return jobs


def _in_dependency_order(named: Sequence[str], known: Mapping[str, Notebook]) -> list[str]:
    graph: dict[str, tuple[str, ...]] = {}
    waiting = list(named)
    while waiting:
        name = waiting.pop()
        if name not in known:
            raise not_found("notebook", name, known)
        if name not in graph:
            graph[name] = known[name].needs
            waiting += graph[name]
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise InputError(f"notebooks need each other: {' -> '.join(error.args[1])}") from None
    return sorted(order, key=lambda name: (_depth(name, graph), name))


def _depth(name: str, graph: Mapping[str, tuple[str, ...]]) -> int:
    return 1 + max((_depth(need, graph) for need in graph[name]), default=0)


def _applicable_overrides(
    notebook: Notebook, given: Mapping[str, str | object], strict: bool
) -> dict[str, object]:
    """The overrides a notebook takes; one that was named must know them all."""
    own = {}
    for name, value in given.items():
        if name not in notebook.parameters:
            if strict:
                raise not_found(f"parameter of {notebook.name}", name, notebook.parameters)
            continue
        parameter = notebook.parameters[name]
        own[name] = notebooks.parse_value(parameter, value) if isinstance(value, str) else value
    return own
