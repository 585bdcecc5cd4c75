"""An executed notebook as one HTML file that needs no network: formulas and pictures inside."""

import html
import re
from functools import lru_cache

import nbformat
from matplotlib.textpath import TextPath
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

_FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])", re.S)
_PATH_LETTERS = {1: "M", 2: "L", 3: "Q", 4: "C"}
_POINTS_EACH = {1: 1, 2: 1, 3: 2, 4: 3, 79: 1}

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
_DARK_CODE = "@media (prefers-color-scheme: dark) {{ {} }}"


@lru_cache
def _code_style() -> str:
    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    plain = ".highlight { background: var(--panel); }"
    return f"{light}\n{_DARK_CODE.format(dark)}\n{plain}"


def document(title: str, body: str, extra_style: str = "") -> str:
    """Wrap a body into a page of the house style; nothing in it is fetched."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}{extra_style}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def notebook_page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Turn an executed notebook into a page."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(copy)
    back = '<p><a href="../index.html">All figures</a></p>\n'
    return document(title, f"{back}<main>{body}</main>", _code_style())


def with_formulas(markdown: str) -> str:
    """Draw the formulas of a Markdown text, between $ or $$, as pictures inside the text."""
    pieces = re.split(r"(```.*?```|`[^`\n]+`)", markdown, flags=re.S)  # code keeps its dollars
    drawn = [piece if piece.startswith("`") else _FORMULA.sub(_drawn, piece) for piece in pieces]
    return "".join(drawn)


def _drawn(match: re.Match) -> str:
    tex = (match[1] or match[2]).strip()
    return formula(tex, displayed=match[1] is not None)


def formula(tex: str, displayed: bool = False) -> str:
    """Draw one TeX formula (of matplotlib's mathtext) as inline SVG that reads as its TeX."""
    size = 19 if displayed else 16
    try:
        path = TextPath((0, 0), f"${' '.join(tex.split())}$", size=size)
    except ValueError:  # beyond mathtext: show the source rather than nothing
        return f"<code>{html.escape(tex)}</code>"
    box = path.get_extents()
    x, y, width, height = box.x0 - 1, -box.y1 - 1, box.width + 2, box.height + 2
    kind = "formula displayed" if displayed else "formula"
    view = f"{x:.1f} {y:.1f} {width:.1f} {height:.1f}"
    return (
        f'<svg class="{kind}" role="img" aria-label="{html.escape(tex, quote=True)}" '
        f'width="{width:.1f}" height="{height:.1f}" viewBox="{view}">'
        f'<path fill="currentColor" d="{_svg_path(path)}"/></svg>'
    )


def _svg_path(path: TextPath) -> str:
    parts, index = [], 0
    while index < len(path.codes):
        code = int(path.codes[index])
        count = _POINTS_EACH[code]
        if code == 79:
            parts.append("Z")
        else:
            points = path.vertices[index : index + count]
            parts.append(_PATH_LETTERS[code] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in points))
        index += count
    return "".join(parts)
