"""HTML pages from the templates in this package; they load nothing from elsewhere."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@lru_cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def page(template: str, **values: object) -> str:
    """Fill in a template.

    Args:
        template: a file of `templates`; most extend `page.html`.
        values: of the template's variables; texts are escaped.
    """
    return _environment().get_template(template).render(values)


def document(title: str, body: str, style: str = "") -> str:
    """Return a page around a body that is HTML already.

    Args:
        title: of the page.
        body: HTML.
        style: further CSS.
    """
    return page("document.html", title=title, body=body, style=style)
