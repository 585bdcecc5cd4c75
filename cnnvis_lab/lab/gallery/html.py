"""What the pages are made of: the house style, the document around a body, a claim's row."""

import html

from ..notebooks import Claim

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #595959; --line: #d9d9d9;
  --page: #ffffff; --panel: #f6f6f4; --link: #005a9c; --good: #00664b; --bad: #a33b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #a9a9a6; --line: #3c3c3a;
  --page: #171716; --panel: #222220; --link: #7cc4ff; --good: #5fd0a8; --bad: #ff9d66; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.2rem 5rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; } h2 { margin-top: 2.4rem; font-size: 1.3rem; }
a { color: var(--link); } a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); }
img { max-width: 100%; height: auto; background: #fff; border-radius: 3px; }
figure { margin: 1.6rem 0 2.6rem; } figcaption { margin-top: .5rem; max-width: 46rem; }
code, pre { font: .86em/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; background: var(--panel); padding: .7rem .9rem; border-radius: 4px; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line); } small, .soft { color: var(--soft); }
.formula { vertical-align: middle; } .displayed { display: block; margin: 1rem auto; }
.jp-InputPrompt, .jp-OutputPrompt, .prompt { display: none; }
.anchor-link { display: none; }
"""


def document(title: str, body: str, extra_style: str = "") -> str:
    """Wrap a body into a page of the house style; nothing in it is fetched."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{extra_style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def verdict_row(claim: Claim, measured: float | None, note: str = "") -> str:
    """Return a claim as a row of an HTML table."""
    if measured is None:
        value, verdict = "", "not measured"
    else:
        value = f"{measured:.4g}"
        verdict = "holds" if claim.holds(measured) else "<strong>does not hold</strong>"
    says = f"{html.escape(claim.text)} <small>({html.escape(claim.source)})</small>"
    quantity = html.escape(claim.quantity + (f". {note}" if note else ""))
    return (
        f"<tr><td>{html.escape(claim.id)}</td><td>{says}</td>"
        f"<td>{value} <small>{quantity}</small></td><td>{html.escape(claim.expected)}</td>"
        f"<td>{verdict}</td></tr>"
    )
