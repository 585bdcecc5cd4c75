"""HTML pages from the templates in this package; they load nothing from elsewhere."""

import re
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, meta

TEMPLATES = Path(__file__).parent / "templates"


@lru_cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def file_stem(layer: str) -> str:
    """Return a layer's name as a plain file name: PyTorch allows any letter in it but a dot."""
    return re.sub(r"[^\w.-]", "-", layer)


def page(template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        template: a file of `templates`; most extend `page.html`.
        values: of the template's variables; texts are escaped.
    """
    return _environment().get_template(template).render(values)


def template_files(template: str) -> list[Path]:
    """Return the files that a template consists of: its own, and those that it names."""
    found: dict[str, None] = {}
    waiting = [template]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            tree = _environment().parse((TEMPLATES / name).read_text(encoding="utf-8"))
            waiting += [one for one in meta.find_referenced_templates(tree) if one]
    return [TEMPLATES / name for name in sorted(found)]


def document(title: str, body: str, style: str = "") -> str:
    """Return a page around a body that is HTML already.

    Args:
        title: of the page.
        body: HTML.
        style: further CSS.
    """
    return page("document.html", title=title, body=body, style=style)
