"""Commands that write data, notebooks and documentation: fetch, student, docs."""

from pathlib import Path

import click

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
@click.argument("out", type=options.FOLDER, metavar="OUTDIR")
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


@click.command("docs")
@click.option("--out", type=options.FOLDER, default="reports/api", help="Folder of the pages.")
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
