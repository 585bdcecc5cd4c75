"""Options and arguments that several commands share."""

import math
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ...core import FileError, InputError, files, prefixed


class PathType(click.ParamType):
    """A path, in which `~` is the home folder; nothing has to exist there.

    Args:
        written: whether it is a folder to write to, which is checked before any work.
    """

    name = "path"

    def __init__(self, written: bool = False) -> None:
        self._written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; click calls this.

        Args:
            value: of the option.
            param: the option.
            ctx: of the command.
        """
        if not str(value):  # such as a variable of the shell that is not set
            self.fail("it is empty; expected a path.", param, ctx)
        try:
            if self._written:
                files.check_writable(value)
            return files.expand(value)
        except FileError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete the path; click calls this.

        Args:
            ctx: of the command.
            param: the option.
            incomplete: what was typed.
        """
        return [CompletionItem(incomplete, type="file")]


class FiniteRange(click.FloatRange):
    """A finite number in a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; click calls this.

        Args:
            value: of the option.
            param: the option.
            ctx: of the command.
        """
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


COUNT = click.IntRange(1, 10**9)
MAX_THREADS, MAX_CHANNELS, MAX_PIXELS = 256, 4096, 4096  # more would exhaust memory, or the system
MAX_JOBS = max(8, 4 * (os.cpu_count() or 1))  # each of them needs memory for torch and a network
FOLDER = PathType()
NEW_FOLDER = PathType(written=True)


def text(*names: str, **settings: Any) -> Callable:
    """Return an option whose value is a text, empty unless given.

    Args:
        *names: of the option, such as "--data".
        **settings: as for `click.option`.
    """
    return click.option(*names, default="", show_default=False, **settings)


def naming(option: str) -> AbstractContextManager[None]:
    """Return a context that adds the option's name, such as "--data", to errors inside."""
    return prefixed(option, InputError)


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
    with naming("--weights"):
        path = files.expand(given)
        if not path.is_file():
            raise InputError(f"no weights file at {given}; check the path")
    return str(path.resolve())


def input_size(
    context: click.Context, parameter: click.Parameter, given: str
) -> int | tuple[int, int] | None:
    """Return the size of a network's images from a text such as "224" or "64x32".

    Args:
        context: of the command, as click passes it.
        parameter: the option, as click passes it.
        given: the option's value.

    Raises:
        InputError: the text has another form.
    """
    numbers = given.lower().split("x") if given else []
    if len(numbers) > 2 or not all(
        number.isdecimal() and len(number) < 9 and 1 <= int(number) <= MAX_PIXELS
        for number in numbers
    ):
        raise InputError(
            f"--input-size {given[:80]}: expected 1 to {MAX_PIXELS} pixels, such as 224, or 64x32"
        )
    if not numbers:
        return None
    height, width = int(numbers[0]), int(numbers[-1])
    return height if len(numbers) == 1 else (height, width)


def own_network(command: Callable) -> Callable:
    """Add the options of networks that do not state their input and classes."""
    sized = text(
        "--input-size",
        metavar="PIXELS",
        callback=input_size,
        help="Size of the images, such as 224, or 64x32 for height and width.",
    )
    channeled = click.option(
        "--channels", type=click.IntRange(1, MAX_CHANNELS), help="Channels of the images."
    )
    named = text("--classes", metavar="FILE", help="Text file with one class name per line.")
    return named(sized(channeled(command)))


def load_network(args: Any) -> Any:
    """Load the network that a command names.

    Args:
        args: the command's values, with those of `own_network`.
    """
    from ... import models

    return models.load(args.model, **network_options(args))


def network_options(args: Any) -> dict[str, Any]:
    """Return the arguments of `models.load` besides the name.

    Args:
        args: the command's values, with those of `own_network`.
    """
    return {
        "weights": args.weights,
        "input_size": args.input_size,
        "channels": args.channels,
        "classes": Path(args.classes).resolve() if args.classes else None,
    }


def _completing(names: Callable[[], Iterable[str]]) -> Callable:
    """Return a function by which a shell completes a name from what was typed of it.

    Args:
        names: returns all names; called only when the shell asks, so that it may import.
    """
    return lambda context, parameter, typed: [name for name in names() if name.startswith(typed)]


def _notebook_names() -> Iterable[str]:
    from .. import notebooks

    return notebooks.read_all()


def _preset_names() -> Iterable[str]:
    from .. import notebooks

    return notebooks.PRESETS


def _network_names() -> Iterable[str]:
    from ... import models

    return models.names()


complete_notebook, complete_preset = _completing(_notebook_names), _completing(_preset_names)
model = click.argument("model", shell_complete=_completing(_network_names))
notebook = click.argument("notebook", nargs=-1, shell_complete=complete_notebook)


def jobs(help: str, default: int = 1) -> Callable:
    """Return the option --jobs: processes that run at the same time.

    Args:
        help: what they do.
        default: their number.
    """
    return click.option("--jobs", type=click.IntRange(1, MAX_JOBS), default=default, help=help)


cluster = text(
    "--cluster",
    metavar="ADDRESS",
    help="Dask scheduler, such as tcp://10.0.0.1:8786; or `local`: --jobs processes of Dask's.",
)
results = click.option("--out", type=FOLDER, default="reports", help="Folder of the results.")
threads = click.option(
    "--threads", type=click.IntRange(1, MAX_THREADS), default=2, help="Number of CPU threads."
)
weights = text(
    "--weights",
    metavar="FILE",
    callback=weights_path,
    help="The network's weights: a file, `download` (torchvision's own) or `random`. "
    "Shipped networks need none.",
)
