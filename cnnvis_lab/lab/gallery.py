"""The gallery page of every figure in a results folder, its manifest, and their verification."""

import html
import json
import re
import shlex
from pathlib import Path

from ..core.errors import FileProblem
from ..core.files import write_whole
from .keys import PACKAGE, harmed, read_record
from .markup import document, verdict_row
from .notebooks import Notebook

_STYLE = """
.facts { display: flex; flex-wrap: wrap; gap: .2rem 1.6rem; margin: .4rem 0; padding: 0;
  list-style: none; font-size: .9rem; color: var(--soft); }
nav ol { columns: 2; padding-left: 1.2rem; } figure pre { margin: .5rem 0 0; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; }
"""


def build(out: Path, known: dict[str, Notebook]) -> None:
    """Write index.html, manifest.json and timings.json for the records in `out`."""
    records = _records(out, known)
    write_whole(out / "index.html", _index(records, known))
    write_whole(out / "manifest.json", _manifest(records))
    write_whole(out / "timings.json", _json({n: r["seconds"] for n, r in records.items()}))


def _records(out: Path, known: dict[str, Notebook]) -> dict[str, dict]:
    return {name: record for name in known if (record := read_record(out, name))}


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
    records = _records(out, known)
    if not records:
        raise FileProblem(f"no results in {out}; expected a folder that `cnnvis render` has filled")
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


def _order(figure: str) -> list:
    """F2 before F10; figures outside the survey's numbering last."""
    parts = re.split(r"(\d+)", figure)
    return [not re.match(r"F\d", figure), *(int(p) if p.isdecimal() else p for p in parts)]


def _index(records: dict[str, dict], known: dict[str, Notebook]) -> str:
    drawn = [(id, name) for name, record in records.items() for id in record["figures"]]
    drawn.sort(key=lambda pair: _order(pair[0]))
    links = "".join(
        f'<li><a href="#{html.escape(id)}">{html.escape(id)}</a> '
        f'<span class="soft">{html.escape(known[name].title)}</span></li>'
        for id, name in drawn
    )
    figures = "\n".join(_figure(id, records[name], known[name]) for id, name in drawn)
    claims = "\n".join(_claims(record, known[name]) for name, record in records.items())
    return document(
        "What convolutional networks see: figures",
        '<a class="skip" href="#figures">Skip to the figures</a>\n'
        "<header><h1>What convolutional networks see</h1>\n"
        "<p>The figures of the survey <cite>How convolutional neural networks see the world</cite> "
        "(arXiv 1804.11191), redrawn, in its order, and what was measured for each of its claims."
        f'</p></header>\n<nav aria-label="Figures"><ol>{links}</ol></nav>\n'
        f'<main id="figures"><h2>Figures</h2>\n{figures}\n'
        f'<h2 id="claims">Claims</h2>\n{claims}</main>',
        _STYLE,
    )


def _figure(id: str, record: dict, notebook: Notebook) -> str:
    figure, name = record["figures"][id], html.escape(notebook.name)
    model = html.escape(str(record["parameters"].get("MODEL", "")))
    return (
        f'<figure id="{html.escape(id)}"><h3>{html.escape(id)}</h3>\n'
        f'<img src="{html.escape(figure["file"])}" alt="{html.escape(figure["alt"], quote=True)}" '
        f'loading="lazy">\n<figcaption>{html.escape(figure["caption"])}\n'
        f'<ul class="facts"><li>network {model}</li><li>preset {html.escape(record["preset"])}</li>'
        f'<li><a href="notebooks/{name}.html">{html.escape(notebook.title)}</a></li></ul>\n'
        f"<pre><code>{html.escape(record['command'])}</code></pre></figcaption></figure>"
    )


def _claims(record: dict, notebook: Notebook) -> str:
    rows = "".join(
        verdict_row(
            claim, record["claims"][claim.id]["measured"], record["claims"][claim.id]["note"]
        )
        for claim in notebook.claims
        if claim.id in record["claims"]
    )
    head = "".join(
        f"<th scope='col'>{h}</th>" for h in ("id", "says", "measured", "expected", "verdict")
    )
    settings = ", ".join(f"{k} = {v!r}" for k, v in sorted(record["parameters"].items()))
    return (
        f"<h3>{html.escape(notebook.title)}</h3>\n<details><summary>Parameters</summary>"
        f"<p><code>{html.escape(settings)}</code></p></details>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def command(name: str, preset: str, overrides: dict[str, object]) -> str:
    """The command that redraws a notebook's figures."""
    words = ["cnnvis", "render", name]
    words += ["--preset", preset] if preset != "default" else []
    for key, value in sorted(overrides.items()):
        text = value if isinstance(value, str) else repr(value)
        words += ["-p", key, text]
    return shlex.join(words)
