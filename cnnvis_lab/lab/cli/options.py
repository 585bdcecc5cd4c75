"""Options and arguments that several commands share."""

from pathlib import Path

import click

from ...core import InputError

COUNT = click.IntRange(min=1)
FOLDER = click.Path(path_type=Path)


def weights_path(context: click.Context, parameter: click.Parameter, given: str) -> str:
    """Return the absolute path of a weights file; "download" and "random" are returned as given.

    Args:
        context: of the command, as click passes it.
        parameter: the option, as click passes it.
        given: the option's value.

    Raises:
        InputError: there is no such file.
    """
    if given in ("", "download", "random"):
        return given
    if not Path(given).is_file():
        raise InputError(f"no weights file at {given}; check the path")
    return str(Path(given).resolve())


model = click.argument("model")
notebook = click.argument("notebook", nargs=-1)
results = click.option("--out", type=FOLDER, default="reports", help="Results folder.")
threads = click.option("--threads", type=COUNT, default=2, help="CPU threads.")
weights = click.option(
    "--weights", default="", callback=weights_path, help="Weights file, or download, or random."
)
