"""The gallery page of all figures in a results folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...core import files
from ..notebooks import Notebook
from ..verdicts import Verdict, Verdicts
from . import previews
from .html import page
from .manifest import manifest_json, read_records, to_json, verdict
from .survey import SURVEY_FIGURES


class GalleryFigure(NamedTuple):
    """What the page shows of a figure.

    Attributes:
        id: such as "F5".
        notebook: the notebook that drew it.
        record: what the notebook drew and measured.
        entry: the figure's own part of the record.
        preview: the file shown in its place; None if the figure is missing.
        verdicts: of the claims that are read off the figure.
        lead: how the text above the figure begins.
        text: what the survey shows, or the question that the figure answers.
        in_survey: whether the survey has this figure.
    """

    id: str
    notebook: Notebook
    record: dict
    entry: dict
    preview: previews.Preview | None
    verdicts: Verdicts
    lead: str
    text: str
    in_survey: bool


class PlacedVerdict(NamedTuple):
    """A verdict, and the figure that it is read off; an empty figure for none."""

    verdict: Verdict
    figure: str

    @property
    def holds(self) -> bool | None:
        """Whether the claim holds; None if it was not measured."""
        return self.verdict.holds


class NotebookSection(NamedTuple):
    """What the page shows of a notebook.

    Attributes:
        notebook: its declarations.
        record: what it drew and measured.
        figures: in the order of the page.
        claims: every claim with a verdict.
        parameters: their values, in one line.
    """

    notebook: Notebook
    record: dict
    figures: list[GalleryFigure]
    claims: list[PlacedVerdict]
    parameters: str

    @property
    def short_title(self) -> str:
        """The title up to a colon."""
        return self.notebook.title.split(":")[0]


def build(out: Path, known: Mapping[str, Notebook]) -> None:
    """Write index.html, manifest.json and timings.json, and smaller copies of large figures.

    Args:
        out: the results folder.
        known: every notebook by name.

    Raises:
        FileError: a record that is not of a render, or a large figure that is no image.
    """
    texts, copies = _contents(out, known)
    previews.write_copies(out, copies)
    for name, text in texts.items():
        files.write_atomically(out / name, text)


def is_current(out: Path, known: Mapping[str, Notebook]) -> bool:
    """Whether `build` would change nothing.

    Args:
        out: the results folder.
        known: every notebook by name.
    """
    texts, copies = _contents(out, known)
    if previews.unused_copies(out, copies) or not all((out / copy).is_file() for copy in copies):
        return False
    written = {name: (out / name).read_bytes() for name in texts if (out / name).is_file()}
    return written == {name: text.encode() for name, text in texts.items()}


def _contents(out: Path, known: Mapping[str, Notebook]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of all pages by name, and the figures that need a copy by the copy."""
    records = read_records(out, known)
    sections = [_section(out, known[name], record) for name, record in records.items()]
    figures = [figure for section in sections for figure in section.figures]
    seconds = {name: record["seconds"] for name, record in records.items()}
    holds = [claim["holds"] for record in records.values() for claim in record["claims"].values()]
    texts = {
        "index.html": page("index.html", notebooks=sections, holds=holds),
        "manifest.json": manifest_json(records),
        "timings.json": to_json(seconds),
    }
    shown = {figure.preview.file: figure.entry["file"] for figure in figures if figure.preview}
    return texts, {copy: file for copy, file in shown.items() if copy != file}


def figure_order(figure: str) -> list:
    """Return a sort key: F2 before F10, and figures that the survey does not have last."""
    parts = re.split(r"(\d+)", figure)
    # Of a foreign record, whose numbers may have more digits than Python converts.
    return [not _in_survey(figure), *(int(p[:99]) if p.isdecimal() else p for p in parts)]


def _in_survey(figure: str) -> bool:
    return re.match(r"F\d", figure) is not None


def _order_in_notebook(figure: str, notebook: Notebook) -> list:
    """Return a sort key: the survey's figures in its order, others as their notebooks list them."""
    if not _in_survey(figure) and figure in notebook.figures:
        return [True, notebook.name, notebook.figures.index(figure)]
    return figure_order(figure)


def _section(out: Path, notebook: Notebook, record: dict) -> NotebookSection:
    figures = [_figure(out, id, notebook, record) for id in record["figures"]]
    figures.sort(key=lambda figure: _order_in_notebook(figure.id, notebook))
    claims = [PlacedVerdict(one, figure.id) for figure in figures for one in figure.verdicts]
    claims += [PlacedVerdict(one, "") for one in _verdicts(record, notebook, "")]
    settings = (f"{key} = {value!r}" for key, value in sorted(record["parameters"].items()))
    return NotebookSection(notebook, record, figures, claims, ", ".join(settings))


def _figure(out: Path, id: str, notebook: Notebook, record: dict) -> GalleryFigure:
    entry, verdicts = record["figures"][id], _verdicts(record, notebook, id)
    preview = previews.preview(out, entry["file"])
    lead, text = "The survey shows", SURVEY_FIGURES.get(id, "")
    if not text:
        lead, text = "The question:", entry.get("question", "")
    return GalleryFigure(id, notebook, record, entry, preview, verdicts, lead, text, _in_survey(id))


def _verdicts(record: dict, notebook: Notebook, figure: str) -> Verdicts:
    """Return the verdicts of the claims about a figure; of those about none, for ""."""
    figures = record["figures"]
    placed = {id: {*entry.get("claims", ())} for id, entry in figures.items()}
    placed[""] = {claim.id for claim in notebook.claims}.difference(*placed.values())
    found = (verdict(record, claim) for claim in notebook.claims if claim.id in placed[figure])
    return Verdicts(one for one in found if one)
