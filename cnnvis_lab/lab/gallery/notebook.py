"""An executed notebook as one HTML file that needs no network: formulas and images inside."""

import html
import re
from copy import deepcopy
from functools import lru_cache

import nbformat
from matplotlib.textpath import TextPath
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from .html import document

_FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])", re.S)
_SVG_COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C"}
_POINTS_PER_CODE = {1: 1, 2: 1, 3: 2, 4: 3, 79: 1}
_DARK_CODE = "@media (prefers-color-scheme: dark) {{ {} }}"


@lru_cache
def _code_style() -> str:
    light = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    plain = ".highlight { background: var(--panel); }"
    return f"{light}\n{_DARK_CODE.format(dark)}\n{plain}"


def notebook_page(notebook: nbformat.NotebookNode, title: str) -> str:
    """Convert an executed notebook to an HTML page."""
    copy = deepcopy(notebook)
    for cell in copy["cells"]:
        if cell.cell_type == "markdown":
            cell.source = render_formulas(cell.source)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(copy)
    back = '<p><a href="../index.html">All figures</a></p>\n'
    return document(title, f"{back}<main>{body}</main>", _code_style())


def render_formulas(markdown: str) -> str:
    """Replace the formulas of a Markdown text, between $ or $$, by inline SVG."""
    pieces = re.split(r"(```.*?```|`[^`\n]+`)", markdown, flags=re.S)  # code keeps its dollars
    rendered = [
        piece if piece.startswith("`") else _FORMULA.sub(_render_match, piece) for piece in pieces
    ]
    return "".join(rendered)


def _render_match(match: re.Match) -> str:
    tex = (match[1] or match[2]).strip()
    return formula_svg(tex, display=match[1] is not None) if tex else match[0]


def formula_svg(tex: str, display: bool = False) -> str:
    """Return a TeX formula (of matplotlib's mathtext) as inline SVG with the TeX as its label."""
    size = 19 if display else 16
    try:
        path = TextPath((0, 0), f"${' '.join(tex.split())}$", size=size)
    except ValueError:  # unknown to mathtext: show the source
        return f"<code>{html.escape(tex)}</code>"
    box = path.get_extents()
    x, y, width, height = box.x0 - 1, -box.y1 - 1, box.width + 2, box.height + 2
    kind = "formula displayed" if display else "formula"
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
        count = _POINTS_PER_CODE[code]
        if code == 79:
            parts.append("Z")
        else:
            points = path.vertices[index : index + count]
            parts.append(_SVG_COMMANDS[code] + " ".join(f"{x:.2f} {-y:.2f}" for x, y in points))
        index += count
    return "".join(parts)
