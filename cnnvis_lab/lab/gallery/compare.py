"""Compare two runs on one page: figures and arrays, parameters, claims whose verdict changed."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...core import files
from ..notebooks import Claim, Notebook
from ..verdicts import Verdict
from . import arrays, previews
from .arrays import ArrayDifference
from .html import page
from .index import figure_order
from .manifest import require_records, verdict

FIGURE_WIDTH = 760  # pixels of a figure's copy


class ComparedRun(NamedTuple):
    """One of the two runs.

    Attributes:
        name: what the page calls it.
        folder: its results.
        records: notebook -> record of what it drew and measured.
    """

    name: str
    folder: Path
    records: Mapping[str, dict]


class ComparedClaim(NamedTuple):
    """A claim and its verdict in each run; None for a run that has none."""

    claim: Claim
    verdicts: tuple[Verdict | None, ...]

    @property
    def comparable(self) -> bool:
        """Whether both runs measured the claim."""
        return all(verdict and verdict.holds is not None for verdict in self.verdicts)

    @property
    def changed(self) -> bool:
        """Whether both runs measured it with different verdicts."""
        first, second = self.verdicts
        return bool(first and second and self.comparable and first.holds != second.holds)


class ParameterRow(NamedTuple):
    """A parameter that differs, or, with an empty name, a notebook that one run lacks."""

    title: str
    name: str
    values: tuple[str, ...]


class ComparedFigure(NamedTuple):
    """A figure: its images in both runs, or once if they are identical, and what else differs.

    Attributes:
        id: such as "F5".
        copies: the images.
        arrays: those that differ; none if one run lacks the figure.
        array_count: the number of arrays in either run.
    """

    id: str
    copies: list["FigureCopy"]
    arrays: list[ArrayDifference]
    array_count: int

    def __str__(self) -> str:
        word = "array differs" if self.array_count == 1 else "arrays differ"
        return f"{self.id}: {len(self.arrays)} of {self.array_count} {word}, {self.arrays[0]}"


class FigureCopy(NamedTuple):
    """A figure of one run; the image is Base64 of WebP, empty if the run has no such figure."""

    name: str
    image: str = ""
    alt: str = ""
    caption: str = ""


def write(first: Path, second: Path, out: Path, known: Mapping[str, Notebook]) -> str:
    """Write a page that compares two results folders, with all images embedded.

    Args:
        first: a results folder.
        second: another results folder.
        out: the file of the page.
        known: every notebook by name.

    Returns:
        A line for each figure whose arrays differ, with the array that differs most, and one that
        says how many verdicts changed.

    Raises:
        FileError: a folder without results, or with damaged arrays.
    """
    names = _display_names(first, second)
    runs = [
        ComparedRun(name, folder, require_records(folder, known))
        for name, folder in zip(names, (first, second), strict=True)
    ]
    claims = _compared_claims(runs, known)
    changed = sum(row.changed for row in claims)
    summary = f"{changed} of the {len(claims)} claims of either run changed their verdict"
    if not claims:
        summary = "neither run has measured a claim"
    ids = {id for run in runs for record in run.records.values() for id in record["figures"]}
    figures = [_compared_figure(id, runs) for id in sorted(ids, key=figure_order)]
    html = page(
        "compare.html",
        runs=runs,
        summary=summary,
        claims=claims,
        measured=_measured,
        parameters=[row for name in known for row in _parameter_rows(runs, known[name])],
        figures=figures,
    )
    files.write_atomically(out, html)
    return "\n".join([*(str(one) for one in figures if one.arrays), f"{summary}; see {out}"])


def _display_names(first: Path, second: Path) -> tuple[str, str]:
    """Name folders by the last part of their paths, or by the whole path if that is the same."""
    ends = first.resolve().name, second.resolve().name
    return ends if ends[0] != ends[1] else (str(first), str(second))


def _compared_claims(runs: list[ComparedRun], known: Mapping[str, Notebook]) -> list[ComparedClaim]:
    rows = [
        ComparedClaim(claim, tuple(verdict(run.records.get(name), claim) for run in runs))
        for name, notebook in known.items()
        for claim in notebook.claims
    ]
    return [row for row in rows if any(row.verdicts)]


def _measured(verdict: Verdict | None) -> str:
    """Return a cell's text: the number and whether the claim holds."""
    if verdict is None:
        return "missing"
    if verdict.measured is None:
        return "not measured"
    return f"{verdict.measured:.4g}, {'holds' if verdict.holds else 'does not hold'}"


def _parameter_rows(runs: list[ComparedRun], notebook: Notebook) -> list[ParameterRow]:
    """Return a row per parameter that differs, or one row if a run lacks the notebook."""
    records = [run.records.get(notebook.name) for run in runs]
    if not any(records):
        return []
    if None in records:
        drawn = tuple("drawn" if record else "not drawn" for record in records)
        return [ParameterRow(notebook.title, "", drawn)]
    first, second = (
        {name: repr(value) for name, value in record["parameters"].items()}
        for record in records
        if record
    )
    values = {
        name: (first.get(name, "missing"), second.get(name, "missing"))
        for name in sorted({*first, *second})
    }
    return [ParameterRow(notebook.title, n, pair) for n, pair in values.items() if len({*pair}) > 1]


def _compared_figure(id: str, runs: list[ComparedRun]) -> ComparedFigure:
    found = [_find_figure(id, run) for run in runs]
    both = [
        arrays.read(run.folder, figure[1])
        for run, figure in zip(runs, found, strict=True)
        if figure
    ]
    changed: list[ArrayDifference] = []
    if len(both) == 2:
        changed = arrays.differences(both[0], both[1], (runs[0].name, runs[1].name))
    names = {name for stored in both for name in stored}
    return ComparedFigure(id, _figure_copies(found, runs), changed, len(names))


def _figure_copies(
    found: list[tuple[Path, dict] | None], runs: list[ComparedRun]
) -> list[FigureCopy]:
    """Return a figure from both runs, or once if the files are identical."""
    digests = {files.digest(figure[0]) if figure else None for figure in found}
    names = [run.name for run in runs]
    if len(digests) == 1 and None not in digests:
        names, found = ["the same in both"], found[:1]
    return [
        FigureCopy(name, _encoded(figure[0]), figure[1]["alt"], figure[1]["caption"])
        if figure
        else FigureCopy(name)
        for name, figure in zip(names, found, strict=True)
    ]


def _find_figure(id: str, run: ComparedRun) -> tuple[Path, dict] | None:
    """Return a figure's file and its entry in the record; None if there is no such file."""
    for record in run.records.values():
        if entry := record["figures"].get(id):
            file = run.folder / entry["file"]
            return (file, entry) if file.is_file() else None
    return None


def _encoded(file: Path) -> str:
    return b64encode(previews.shrink(file, FIGURE_WIDTH)).decode()
