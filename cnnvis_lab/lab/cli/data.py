"""Commands that write data, notebooks and documentation: fetch, student, docs."""

from pathlib import Path

import click

from . import options


@click.command("fetch")
@click.argument("name")
@click.option("--out", default="", help="Folder; one in the user's cache by default.")
@click.option("--sha256", default="", help="Expected hash of the file.")
@click.option("--url", default="", help="Another address of the file.")
def fetch_dataset(name: str, out: str, sha256: str, url: str) -> None:
    """Download labeled images: broden1_224, broden1_227 or broden1_384.

    The name can then be given to --data.
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
@click.option("--force", is_flag=True, help="Replace files of the same names.")
def copy_for_students(out: Path, notebook: tuple[str, ...], force: bool) -> None:
    """Copy notebooks without solutions.

    NOTEBOOK is a name or its beginning; all are copied by default.
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
    """Write the Python API reference as offline pages."""
    from .. import reference

    click.echo(reference.write(out))
