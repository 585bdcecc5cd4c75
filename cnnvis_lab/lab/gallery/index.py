"""The gallery page of every figure in a results folder, its manifest, and their verification."""

import html
import re
from pathlib import Path

from ...core import files
from ..notebooks import Claim, Notebook
from . import previews, survey
from .html import document, verdict_row
from .manifest import manifest_json, read_records, to_json

INDEX_STYLE = """
.facts { display: flex; flex-wrap: wrap; gap: .2rem 1.6rem; margin: .6rem 0; padding: 0;
  list-style: none; font-size: .9rem; color: var(--soft); }
nav ol { display: flex; flex-wrap: wrap; gap: .2rem 1rem; padding: 0; list-style: none; }
section { padding-top: .2rem; scroll-margin-top: 1rem; } section p { max-width: 46rem; }
section + section { border-top: 1px solid var(--line); }
figure { margin: 1rem 0; } td strong { color: var(--bad); } caption { text-align: left;
  color: var(--soft); font-size: .9rem; padding-bottom: .3rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; }
"""


def build(out: Path, known: dict[str, Notebook]) -> None:
    """Write index.html, manifest.json and timings.json for the records in `out`."""
    records = read_records(out, known)
    files.write_atomically(out / "index.html", _index_page(out, records, known))
    files.write_atomically(out / "manifest.json", manifest_json(records))
    files.write_atomically(
        out / "timings.json", to_json({n: r["seconds"] for n, r in records.items()})
    )


def figure_order(figure: str) -> list:
    """F2 before F10; figures outside the survey's numbering last."""
    parts = re.split(r"(\d+)", figure)
    return [not re.match(r"F\d", figure), *(int(p) if p.isdecimal() else p for p in parts)]


def _order_in_notebook(figure: str, notebook: Notebook) -> list:
    """The survey's figures in its order; others in that of their notebooks."""
    place = figure_order(figure)
    if place[0] and figure in notebook.figures:
        return [True, notebook.name, notebook.figures.index(figure)]
    return place


def _index_page(out: Path, records: dict[str, dict], known: dict[str, Notebook]) -> str:
    drawn = [(id, name) for name, record in records.items() for id in record["figures"]]
    drawn.sort(key=lambda pair: _order_in_notebook(pair[0], known[pair[1]]))
    claims = {
        name: survey.claims_by_figure(known[name].claims, record["figures"])
        for name, record in records.items()
    }
    shown = {id: previews.preview(out, records[name]["figures"][id]["file"]) for id, name in drawn}
    previews.remove_unused(out, {one.file for one in shown.values() if one})
    figures = "\n".join(
        _figure_section(id, records[name], known[name], claims[name][id], shown[id])
        for id, name in drawn
    )
    rest = "\n".join(
        _notebook_section(records[name], known[name], claims[name][""]) for name in records
    )
    return document(
        "What convolutional networks see: figures",
        '<a class="skip" href="#figures">Skip to the figures</a>\n'
        "<header><h1>What convolutional networks see</h1>\n"
        "<p>The figures of the survey <cite>How convolutional neural networks see the world</cite> "
        "(arXiv 1804.11191), redrawn, in its order, and what was measured for each of its claims. "
        f"{_claim_counts(records)}</p></header>\n"
        f"{_navigation([id for id, _ in drawn])}\n"
        f'<main id="figures"><h2>Figures</h2>\n{figures}\n'
        f'<h2 id="claims">Notebooks</h2>\n{rest}</main>',
        INDEX_STYLE,
    )


def _navigation(figures: list[str]) -> str:
    """The survey's figures and, behind them, the others, each as a row of links."""
    ours = [id for id in figures if figure_order(id)[0]]
    parts = {"The survey's figures": [id for id in figures if id not in ours], "Further": ours}
    return "\n".join(
        f'<nav aria-label="{label}"><ol><li class="soft">{label}:</li>'
        f"{_navigation_items(ids)}</ol></nav>"
        for label, ids in parts.items()
        if ids
    )


def _navigation_items(ids: list[str]) -> str:
    return "".join(f'<li><a href="#{html.escape(id)}">{html.escape(id)}</a></li>' for id in ids)


def _claim_counts(records: dict[str, dict]) -> str:
    told = [claim["holds"] for record in records.values() for claim in record["claims"].values()]
    if not told:
        return ""
    return (
        f"Of {len(told)} claims {told.count(True)} hold here, {told.count(False)} do not, and "
        f"{told.count(None)} could not be measured."
    )


def _figure_section(
    id: str, record: dict, notebook: Notebook, claims: list[Claim], shown: previews.Preview | None
) -> str:
    figure, name = record["figures"][id], html.escape(notebook.name)
    file = html.escape(figure["file"])
    begins, says = survey.introduction(id)
    above = f"<p><strong>{begins}</strong> {html.escape(says)}</p>\n" if says else ""
    model = html.escape(str(record["parameters"].get("MODEL", "")))
    network = f"<li>network {model}</li>" if model else ""
    return (
        f'<section id="{html.escape(id)}" aria-labelledby="{html.escape(id)}-name">'
        f'<h3 id="{html.escape(id)}-name">{html.escape(id)} '
        f'<span class="soft">{html.escape(notebook.title)}</span></h3>\n{above}'
        f"<figure>{_image_tag(figure, shown)}\n"
        f"<figcaption>{html.escape(figure['caption'])}</figcaption></figure>\n"
        f"{_claims_table_html(claims, record, f'Measured for {id}')}"
        f'<ul class="facts">{network}<li>preset {html.escape(record["preset"])}</li>'
        f'<li><a href="notebooks/{name}.html">{html.escape(notebook.title)}</a></li>'
        f'<li><a href="{file}">{html.escape(id)} in full size</a></li></ul>\n'
        f"<pre><code>{html.escape(record['command'])}</code></pre></section>"
    )


def _image_tag(figure: dict, shown: previews.Preview | None) -> str:
    file, size = html.escape(figure["file"]), ""
    if shown:
        file, size = html.escape(shown.file), f' width="{shown.width}" height="{shown.height}"'
    alt = html.escape(figure["alt"], quote=True)
    return f'<img src="{file}" alt="{alt}"{size} loading="lazy">'


def _claims_table_html(claims: list[Claim], record: dict, caption: str) -> str:
    """Return the table of those claims that the run knows of; nothing without any."""
    told = [(claim, record["claims"].get(claim.id)) for claim in claims]
    rows = "".join(verdict_row(c, own["measured"], own["note"]) for c, own in told if own)
    names = ("id", "says", "measured", "expected", "verdict")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    if not rows:
        return ""
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>\n"
    )


def _notebook_section(record: dict, notebook: Notebook, claims: list[Claim]) -> str:
    """A notebook's parameters, and its claims that belong to no single figure."""
    settings = ", ".join(f"{k} = {v!r}" for k, v in sorted(record["parameters"].items()))
    title = html.escape(notebook.title)
    return (
        f"<h3>{title}</h3>\n<details><summary>Parameters of {title}</summary>"
        f"<p><code>{html.escape(settings)}</code></p></details>\n"
        f"{_claims_table_html(claims, record, 'Measured beside the figures')}"
    )
