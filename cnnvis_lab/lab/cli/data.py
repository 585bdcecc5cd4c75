"""Commands on data, exercises and documentation: fetch, student, mark, docs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ...core import printable
from . import options


@click.command("fetch")
@click.argument("name")
@options.text("--out", metavar="DIR", help="Folder of the dataset.  [default: the user's cache]")
@options.text("--sha256", metavar="HASH", help="Expected hash of the file, to verify it.")
@options.text("--url", help="Another address to download the file from.")
def fetch_dataset(name: str, out: str, sha256: str, url: str) -> None:
    """Download labeled images: broden1_224, broden1_227 or broden1_384.

    An interrupted download resumes. The name can then be given to --data.

    \b
    Example:
      cnnvis fetch broden1_227
    \f

    Args:
        name: the dataset.
        out: its folder; empty for one in the user's cache.
        sha256: the expected hash; empty to accept any.
        url: another address of the file; empty for the usual one.
    """
    from ...data import broden

    def report(line: str) -> None:
        click.echo(line, err=True)

    click.echo(broden.fetch(name, out, url=url, sha256=sha256, on_progress=report))


@click.command("student")
@click.argument("out", type=options.NEW_FOLDER, metavar="OUTDIR")
@options.notebook
@click.option("--force", is_flag=True, help="Replace files of the same names that differ.")
def copy_for_students(out: Path, notebook: tuple[str, ...], force: bool) -> None:
    """Copy notebooks without the solutions of their exercises.

    NOTEBOOK is a name or its beginning; all are copied by default.

    \b
    Example:
      cnnvis student class 03 05
    \f

    Args:
        out: folder of the copies.
        notebook: names or their beginnings.
        force: replace files of the same names.
    """
    from .. import course, notebooks

    texts = course.copies(notebook, notebooks.read_all())
    for file in course.write(texts, out, force=force):
        click.echo(file)


@click.command("mark")
@click.argument("folder", type=options.FOLDER)
@click.option(
    "--seconds", type=options.FiniteRange(min=1), default=120, help="Time that a cell may take."
)
@click.option(
    "--memory", type=options.FiniteRange(min=0.5), default=4, help="Gigabytes that a cell may need."
)
@options.jobs("Hand-ins run at the same time.")
@click.option(
    "--out", type=options.NEW_FOLDER, default="reports/marks", help="Folder of the table."
)
def mark_hand_ins(folder: Path, seconds: float, memory: float, jobs: int, out: Path) -> None:
    """Mark students' notebooks: a table of exercises that are right, or why they are not.

    FOLDER has a notebook, or a folder of notebooks, for each student; files can have any names.
    Each runs in a kernel of its own, without solutions. The table is written as marks.csv and
    marks.html.

    \b
    Example:
      cnnvis mark hand-ins --jobs 2
    \f

    Args:
        folder: of the hand-ins.
        seconds: that a cell may take.
        memory: gigabytes that a cell may need.
        jobs: hand-ins run at the same time.
        out: folder of the table.
    """
    from .. import course, locks, notebooks

    def report(marks: Sequence[Any]) -> None:
        first, right = marks[0], sum(mark.is_right for mark in marks)
        said = f"{right} of {len(marks)} right" if first.exercise else first.result
        click.echo(printable(f"{first.file}: {said}"))

    limits = course.Limits(seconds, memory)
    with locks.locked_folder(out):
        marks = course.mark(
            folder, notebooks.read_all(), limits=limits, workers=jobs, on_marked=report
        )
        click.echo(course.write_table(marks, out))


@click.command("docs")
@click.option("--out", type=options.NEW_FOLDER, default="reports/api", help="Folder of the pages.")
def write_docs(out: Path) -> None:
    """Write the Python API reference as offline pages.

    \b
    Example:
      cnnvis docs --out api
    \f

    Args:
        out: folder of the pages.
    """
    from .. import reference

    click.echo(reference.write(out))
