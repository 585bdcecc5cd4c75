"""Two runs on one page: figure beside figure, parameters that differ, claims that changed."""

import html
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...core import files
from ..notebooks import Claim, Notebook
from . import index, manifest, previews
from .html import document

FIGURE_WIDTH = 760  # pixels of a figure's copy
_MISSING = "not there"
_VERDICTS = {True: "holds", False: "does not hold", None: "not measured"}
_STYLE = """
body { max-width: 84rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 1.6rem; align-items: start; }
@media (max-width: 48rem) { .pair { grid-template-columns: 1fr; } }
.pair figure { margin: .6rem 0; } .bound { white-space: nowrap; }
.none { color: var(--soft); font-style: italic; }
"""


class ComparedRun(NamedTuple):
    """One of the two runs.

    Attributes:
        name: what it is called on the page.
        folder: its results.
        records: notebook -> what it drew and measured.
    """

    name: str
    folder: Path
    records: Mapping[str, dict]


def read_run(folder: Path, name: str, known: Mapping[str, Notebook]) -> ComparedRun:
    """Read a results folder.

    Raises:
        FileProblem: it holds no results.
    """
    return ComparedRun(name, folder, manifest.require_records(folder, known))


def write(one: Path, other: Path, out: Path, known: Mapping[str, Notebook]) -> str:
    """Write the page that compares two results folders; all pictures are inside it.

    Args:
        one: a results folder.
        other: another one.
        out: the page.
        known: every notebook.

    Returns:
        A line of what was found.

    Raises:
        FileProblem: a folder without results.
    """
    names = _display_names(one, other)
    sides = [read_run(one, names[0], known), read_run(other, names[1], known)]
    claims = list(_claim_rows(sides, known))
    changed = sum(row.changed for row in claims)
    count = f"{changed} of the {len(claims)} claims of either run changed their verdict"
    if not claims:
        count = "neither run has measured a claim"
    files.write_atomically(out, _page(sides, known, claims, count))
    return f"{count}; see {out}"


def _display_names(one: Path, other: Path) -> tuple[str, str]:
    """Call folders by the last part of their paths; by the whole where that is the same."""
    ends = one.resolve().name, other.resolve().name
    return ends if ends[0] != ends[1] else (str(one), str(other))


class _ClaimRow(NamedTuple):
    """A claim and what both runs have of it; None for a run that does not know it."""

    claim: Claim
    found: tuple[dict | None, dict | None]

    @property
    def changed(self) -> bool:
        """Whether both runs measured it and came to different verdicts."""
        told = [own and own["holds"] for own in self.found]
        return None not in told and told[0] != told[1]


def _claim_rows(sides: list[ComparedRun], known: Mapping[str, Notebook]) -> list[_ClaimRow]:
    rows = []
    for name, notebook in known.items():
        for claim in notebook.claims:
            found = tuple(
                side.records.get(name, {}).get("claims", {}).get(claim.id) for side in sides
            )
            if any(found):
                rows.append(_ClaimRow(claim, found))
    return rows


def _page(
    sides: list[ComparedRun], known: Mapping[str, Notebook], claims: list[_ClaimRow], count: str
) -> str:
    names = [side.name for side in sides]
    changed, others = ([row for row in claims if row.changed is kind] for kind in (True, False))
    figures = {id for side in sides for record in side.records.values() for id in record["figures"]}
    drawn = "\n".join(_figure_section(id, sides) for id in sorted(figures, key=index.figure_order))
    return document(
        f"{' and '.join(names)} compared",
        '<a class="skip" href="#figures">Skip to the figures</a>\n'
        f"<header><h1>{html.escape(' and '.join(names))}</h1>\n"
        f"<p>{html.escape(count)}.</p></header>\n"
        '<nav aria-label="Parts"><p><a href="#parameters">Parameters</a>, '
        '<a href="#changed">claims that changed</a>, <a href="#figures">figures</a>, '
        '<a href="#claims">other claims</a></p></nav>\n<main>'
        f'<h2 id="parameters">Parameters that differ</h2>\n{_parameters_section(sides, known)}\n'
        f'<h2 id="changed">Claims that changed</h2>\n{_claims_table(changed, names)}\n'
        f'<h2 id="figures">Figures</h2>\n{drawn}\n'
        f'<h2 id="claims">Other claims</h2>\n{_claims_table(others, names)}</main>',
        index.INDEX_STYLE + _STYLE,
    )


def _parameters_section(sides: list[ComparedRun], known: Mapping[str, Notebook]) -> str:
    rows = "".join(_parameter_rows(name, sides, known[name]) for name in known)
    if not rows:
        return "<p>None: the same notebooks with the same parameters.</p>"
    return _html_table(["notebook", "parameter", *(side.name for side in sides)], rows)


def _parameter_rows(name: str, sides: list[ComparedRun], notebook: Notebook) -> str:
    """A row for each parameter that is not the same in both runs, or for a missing run."""
    records = [side.records.get(name) for side in sides]
    title = html.escape(notebook.title)
    if not any(records):
        return ""
    if not all(records):
        cells = "".join(f"<td>{'drawn' if record else 'not drawn'}</td>" for record in records)
        return f"<tr><td>{title}</td><td></td>{cells}</tr>"
    given = [record["parameters"] for record in records]
    rows = []
    for key in sorted({*given[0], *given[1]}):
        values = [repr(own[key]) if key in own else _MISSING for own in given]
        if values[0] != values[1]:
            cells = "".join(f"<td><code>{html.escape(value)}</code></td>" for value in values)
            rows.append(f"<tr><td>{title}</td><td>{html.escape(key)}</td>{cells}</tr>")
    return "".join(rows)


def _claims_table(claims: list[_ClaimRow], names: list[str]) -> str:
    if not claims:
        return "<p>None.</p>"
    heads = ["id", "says", "expected", *names, "verdict"]
    return _html_table(heads, "".join(map(_claim_row_html, claims)))


def _claim_row_html(row: _ClaimRow) -> str:
    claim = row.claim
    verdict = "<strong>changed</strong>" if row.changed else "the same"
    verdict = verdict if all(own and own["holds"] is not None for own in row.found) else ""
    return (
        f"<tr><td>{html.escape(claim.id)}</td>"
        f"<td>{html.escape(claim.text)} <small>{html.escape(claim.quantity)}</small></td>"
        f'<td class="bound">{html.escape(claim.expected)}</td>'
        f"{''.join(map(_measured_cell, row.found))}"
        f"<td>{verdict}</td></tr>"
    )


def _measured_cell(own: dict | None) -> str:
    if own is None:
        return f"<td>{_MISSING}</td>"
    value = "" if own["measured"] is None else f"{own['measured']:.4g}, "
    return f"<td>{value}{_VERDICTS[own['holds']]}</td>"


def _html_table(heads: list[str], rows: str) -> str:
    head = "".join(f"<th scope='col'>{html.escape(word)}</th>" for word in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _figure_section(id: str, sides: list[ComparedRun]) -> str:
    paths = [_figure_file(id, side) for side in sides]
    if None not in paths and len({files.digest(path) for path in paths}) == 1:
        shown = _figure_html(id, sides[0]._replace(name="the same in both"))
    else:
        shown = "\n".join(_figure_html(id, side) for side in sides)
    return (
        f'<section aria-labelledby="{html.escape(id)}"><h3 id="{html.escape(id)}">'
        f'{html.escape(id)}</h3>\n<div class="pair">{shown}</div></section>'
    )


def _figure_file(id: str, side: ComparedRun) -> Path | None:
    """A figure's file; None where there is none."""
    for record in side.records.values():
        if id in record["figures"] and (side.folder / record["figures"][id]["file"]).is_file():
            return side.folder / record["figures"][id]["file"]
    return None


def _figure_html(id: str, side: ComparedRun) -> str:
    file, name = _figure_file(id, side), html.escape(side.name)
    if file is None:
        return f'<p class="none">{name}: {_MISSING}</p>'
    (about, *_) = (r["figures"][id] for r in side.records.values() if id in r["figures"])
    picture = b64encode(previews.shrink(file, FIGURE_WIDTH)).decode()
    alt = html.escape(f"{side.name}: {about['alt']}", quote=True)
    return (
        f'<figure><img src="data:image/webp;base64,{picture}" alt="{alt}">\n'
        f"<figcaption><strong>{name}</strong>. {html.escape(about['caption'])}</figcaption>"
        "</figure>"
    )
