"""Tiny notebooks for the tests of the lab: a few pixels, no network, seconds to run."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch

import nbformat
import pytest
import torch
from nbformat import v4

from cnnvis_lab import lab
from cnnvis_lab.lab import figures, notebooks, render, run
from cnnvis_lab.lab.render import execute

PARAMETERS = """SEED: int = 0  # of everything random
LEVEL: float = 0.25  # gray of the image, which is its mean
SIDES: list = [4, 5]  # height and width
NOTE: str = "#plain"  # a word
BRIGHT: bool = False  # more light
FAULT: str = ""  # code that runs before the figure
AFTER: str = ""  # code that runs after the end
OUT: str = ""  # if empty, nothing is written
"""
CLAIMS = """| id | claim | source | quantity | expected |
| --- | --- | --- | --- | --- |
| {id}.1 | Images are *dark* & < white | Sec. 1 | mean of the image | <= 0.5 |
| {id}.2 | Images are white | Fig. 2 | darkest pixel | >= 0.99 |"""
BEGIN = """from cnnvis_lab import lab
from cnnvis_lab.lab import figures

NAME, FIGURE = "{name}", "{id}"
run = lab.begin("{name}", globals())"""
DRAW = """import torch

image = torch.rand(3, *SIDES) * LEVEL + 0.5 * BRIGHT
sheet = figures.image_grid([[image]], column_labels=[NOTE])
drawing = figures.Drawing(sheet, "Noise < paint", 'Some "noise"', {{"image": image}})
run.figure(FIGURE, drawing, question="How dark is it?")
run.metric("mean", float(image.mean()))
run.measure("{id}.1", float(image.mean()), "of one image")
run.measure("{id}.2", float(image.min()))"""


def write(
    folder: Path,
    name: str,
    *,
    figure: str = "F1",
    needs: tuple[str, ...] = (),
    body: str = "pass",
    parameters: str = PARAMETERS,
    claims: str = CLAIMS,
    tags: str = "parameters",
    **declared: object,
) -> Path:
    """Write a notebook that draws a figure of noise and measures two claims, one of them false."""
    begin = BEGIN.format(name=name, id=figure)
    texts = [
        ("markdown", f"# The tiny {name}\n\nIts mean is $\\mu = \\frac{{1}}{{2}}$.", ""),
        ("code", parameters, tags),
        ("code", begin, ""),
        ("code", body, ""),
        ("code", "exec(FAULT)", ""),
        ("code", DRAW.format(id=figure), ""),
        ("markdown", claims.format(id=figure), "claims"),
        ("code", "run.finish()", ""),
        ("code", "exec(AFTER)", ""),
    ]
    cells = []
    for number, (kind, text, tag) in enumerate(texts):
        make = v4.new_code_cell if kind == "code" else v4.new_markdown_cell
        cells.append(make(text, id=f"cell-{number}", metadata={"tags": [tag] if tag else []}))
    declared = {
        "figures": [figure],
        "needs": list(needs),
        "minutes": 0.1,
        "presets": {"smoke": {"SIDES": [1, 2]}},
    } | declared
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = v4.new_notebook(cells=cells, metadata={"cnnvis": declared, "kernelspec": kernel})
    path = folder / f"{name}.ipynb"
    folder.mkdir(exist_ok=True, parents=True)
    nbformat.write(notebook, path)
    return path


@contextmanager
def known_notebooks(folder: Path, figures: Mapping[str, str]) -> Iterator[None]:
    """Write notebooks, name -> figure, and make them the known ones inside the block."""
    for name, figure in figures.items():
        write(folder / "notebooks", name, figure=figure)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CNNVIS_NOTEBOOKS", str(folder / "notebooks"))
        yield


class _Reader(HTMLParser):
    """Collects a page's tags, and the text of its styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.raw = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.raw += data if self.cdata_elem else ""


def tags(page: str, kind: str = "") -> list[dict]:
    """Return the attributes of every tag of a kind in a page, of all tags if no kind is given."""
    reader = _Reader()
    reader.feed(page)
    return [attributes for tag, attributes in reader.tags if kind in ("", tag)]


def fetched(page: str) -> list[str]:
    """Return the addresses that a browser would load to show a page, except data in the page."""
    reader = _Reader()
    reader.feed(page)
    found = re.findall(r"url\([^)]*\)|@import.*|(?:https?:)?//[\w.]+", reader.raw)
    for tag, attributes in reader.tags:
        names = ["src", "srcset", "data", "poster", "background", "xlink:href"]
        names += [] if tag == "a" else ["href"]
        found += [attributes[name] for name in names if name in attributes]
        found += re.findall(r"url\([^)]*\)", attributes.get("style") or "")
    return [address for address in found if not address.startswith("data:")]


def replace_in(path: Path, old: str, new: str) -> None:
    """Change a file's text; the old text must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def execute_without_kernel(job: render.Job, staging: Path, on_progress: object = None) -> None:
    """Replace `execute.execute`: write the same files to the staging folder without a kernel."""
    # Nothing is displayed, and files that other tests read are no inputs of this run.
    with patch.object(run, "display"), patch.object(run.files, "recorded_inputs", return_value={}):
        begun = lab.begin(job.notebook.name, {**job.parameters, "OUT": str(staging)})
        image = torch.rand(3, *job.parameters["SIDES"])
        sheet = figures.image_grid([[image]])
        drawing = figures.Drawing(sheet, "Noise < paint", 'Some "noise"', {"image": image})
        (figure,) = job.notebook.figures
        begun.figure(figure, drawing, question="How dark is it?")
        for claim in job.notebook.claims:
            begun.measure(claim.id, float(image.mean()), "of one image")
        begun.finish()
    shutil.copy(job.notebook.path, staging / "executed.ipynb")


def render_without_kernel(out: Path, name: str, **overrides: object) -> None:
    """Write a notebook's results to `out` as a render does, without a kernel."""
    known = notebooks.read_all()
    *_, job = render.plan([name], known, preset="default", overrides=overrides, out=out)
    staging = out / ".staging-test"
    staging.mkdir(parents=True)
    execute_without_kernel(job, staging)
    execute.publish(job, staging, seconds=1.5)
    shutil.rmtree(staging)
