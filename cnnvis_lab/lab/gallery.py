"""The gallery page of every figure in a results folder, its manifest, and their verification."""

import html
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import FileProblem
from ..core.files import write_whole
from . import previews, survey
from .keys import PACKAGE, harmed, read_record
from .markup import document, verdict_row
from .notebooks import Claim, Notebook

STYLE = """
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
    records = _records(out, known)
    write_whole(out / "index.html", _index(out, records, known))
    write_whole(out / "manifest.json", _manifest(records))
    write_whole(out / "timings.json", _json({n: r["seconds"] for n, r in records.items()}))


def _records(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    return {name: record for name in known if (record := read_record(out, name))}


def results(out: Path, known: Mapping[str, Notebook]) -> dict[str, dict]:
    """Return notebook -> the record of what it drew and measured.

    Raises:
        FileProblem: `out` holds no results.
    """
    records = _records(out, known)
    if not records:
        raise FileProblem(f"no results in {out}; expected a folder that `cnnvis render` has filled")
    return records


def _json(content: dict) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _manifest(records: dict[str, dict]) -> str:
    """What another machine can compare: no time, no path of this one."""
    kept = {
        name: {key: value for key, value in record.items() if key not in ("seconds", "command")}
        | {
            "inputs": {_place(path): was for path, was in record["inputs"].items()},
            "parameters": {key: _place(value) for key, value in record["parameters"].items()},
        }
        for name, record in records.items()
    }
    return _json(kept)


def _place(value: object) -> object:
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
    records = results(out, known)
    problems = [
        f"{name}: {file} is missing or changed"
        for name, record in records.items()
        for file in harmed(out, record)
    ]
    manifest = out / "manifest.json"
    if not manifest.is_file() or manifest.read_bytes() != _manifest(records).encode():
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


def order(figure: str) -> list:
    """F2 before F10; figures outside the survey's numbering last."""
    parts = re.split(r"(\d+)", figure)
    return [not re.match(r"F\d", figure), *(int(p) if p.isdecimal() else p for p in parts)]


def _order_in(figure: str, notebook: Notebook) -> list:
    """The survey's figures in its order; others in that of their notebooks."""
    place = order(figure)
    if place[0] and figure in notebook.figures:
        return [True, notebook.name, notebook.figures.index(figure)]
    return place


def _index(out: Path, records: dict[str, dict], known: dict[str, Notebook]) -> str:
    drawn = [(id, name) for name, record in records.items() for id in record["figures"]]
    drawn.sort(key=lambda pair: _order_in(pair[0], known[pair[1]]))
    claims = {
        name: survey.beside(known[name].claims, record["figures"])
        for name, record in records.items()
    }
    shown = {id: previews.shown(out, records[name]["figures"][id]["file"]) for id, name in drawn}
    previews.sweep(out, {one.file for one in shown.values() if one})
    figures = "\n".join(
        _figure(id, records[name], known[name], claims[name][id], shown[id]) for id, name in drawn
    )
    rest = "\n".join(_rest(records[name], known[name], claims[name][""]) for name in records)
    return document(
        "What convolutional networks see: figures",
        '<a class="skip" href="#figures">Skip to the figures</a>\n'
        "<header><h1>What convolutional networks see</h1>\n"
        "<p>The figures of the survey <cite>How convolutional neural networks see the world</cite> "
        "(arXiv 1804.11191), redrawn, in its order, and what was measured for each of its claims. "
        f"{_count(records)}</p></header>\n"
        f"{_links([id for id, _ in drawn])}\n"
        f'<main id="figures"><h2>Figures</h2>\n{figures}\n'
        f'<h2 id="claims">Notebooks</h2>\n{rest}</main>',
        STYLE,
    )


def _links(figures: list[str]) -> str:
    """The survey's figures and, behind them, the others, each as a row of links."""
    ours = [id for id in figures if order(id)[0]]
    parts = {"The survey's figures": [id for id in figures if id not in ours], "Further": ours}
    return "\n".join(
        f'<nav aria-label="{label}"><ol><li class="soft">{label}:</li>{_items(ids)}</ol></nav>'
        for label, ids in parts.items()
        if ids
    )


def _items(ids: list[str]) -> str:
    return "".join(f'<li><a href="#{html.escape(id)}">{html.escape(id)}</a></li>' for id in ids)


def _count(records: dict[str, dict]) -> str:
    told = [claim["holds"] for record in records.values() for claim in record["claims"].values()]
    if not told:
        return ""
    return (
        f"Of {len(told)} claims {told.count(True)} hold here, {told.count(False)} do not, and "
        f"{told.count(None)} could not be measured."
    )


def _figure(
    id: str, record: dict, notebook: Notebook, claims: list[Claim], shown: previews.Shown | None
) -> str:
    figure, name = record["figures"][id], html.escape(notebook.name)
    file = html.escape(figure["file"])
    begins, says = survey.says(id)
    above = f"<p><strong>{begins}</strong> {html.escape(says)}</p>\n" if says else ""
    model = html.escape(str(record["parameters"].get("MODEL", "")))
    network = f"<li>network {model}</li>" if model else ""
    return (
        f'<section id="{html.escape(id)}" aria-labelledby="{html.escape(id)}-name">'
        f'<h3 id="{html.escape(id)}-name">{html.escape(id)} '
        f'<span class="soft">{html.escape(notebook.title)}</span></h3>\n{above}'
        f"<figure>{_image(figure, shown)}\n"
        f"<figcaption>{html.escape(figure['caption'])}</figcaption></figure>\n"
        f"{_table(claims, record, f'Measured for {id}')}"
        f'<ul class="facts">{network}<li>preset {html.escape(record["preset"])}</li>'
        f'<li><a href="notebooks/{name}.html">{html.escape(notebook.title)}</a></li>'
        f'<li><a href="{file}">{html.escape(id)} in full size</a></li></ul>\n'
        f"<pre><code>{html.escape(record['command'])}</code></pre></section>"
    )


def _image(figure: dict, shown: previews.Shown | None) -> str:
    file, size = html.escape(figure["file"]), ""
    if shown:
        file, size = html.escape(shown.file), f' width="{shown.width}" height="{shown.height}"'
    alt = html.escape(figure["alt"], quote=True)
    return f'<img src="{file}" alt="{alt}"{size} loading="lazy">'


def _table(claims: list[Claim], record: dict, caption: str) -> str:
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


def _rest(record: dict, notebook: Notebook, claims: list[Claim]) -> str:
    """A notebook's parameters, and its claims that belong to no single figure."""
    settings = ", ".join(f"{k} = {v!r}" for k, v in sorted(record["parameters"].items()))
    title = html.escape(notebook.title)
    return (
        f"<h3>{title}</h3>\n<details><summary>Parameters of {title}</summary>"
        f"<p><code>{html.escape(settings)}</code></p></details>\n"
        f"{_table(claims, record, 'Measured beside the figures')}"
    )


def command(name: str, preset: str, overrides: dict[str, object]) -> str:
    """The command that redraws a notebook's figures."""
    words = ["cnnvis", "render", name]
    words += ["--preset", preset] if preset != "default" else []
    for key, value in sorted(overrides.items()):
        text = value if isinstance(value, str) else repr(value)
        words += ["-p", key, text]
    return shlex.join(words)
