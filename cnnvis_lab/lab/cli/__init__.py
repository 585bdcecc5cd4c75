"""The `cnnvis` command line.

Every command imports what it needs when it runs, so that `cnnvis --help`, error messages, and
`cnnvis render` with nothing to do are quick.
"""

import logging
import os
import re
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click
from click.shell_completion import shell_complete

from ... import __version__
from ...core import LabError, printable
from ..progress import close_bars
from .analyses import dissect_network, draw_unit
from .atlas import draw_atlas
from .data import copy_for_students, fetch_dataset, mark_hand_ins, write_docs
from .networks import list_layers, list_models
from .results import compare_results, list_claims, list_parameters, render_notebooks, verify_results
from .training import train_network

__all__ = ["main"]

NO_MEMORY = re.compile("allocate memory|out of memory")  # in messages of torch
COMPLETION = "_CNNVIS_COMPLETE"  # the variable by which a shell asks what a word can be

GROUPS = {
    "Figures of the survey": (
        render_notebooks,
        list_parameters,
        list_claims,
        compare_results,
        verify_results,
    ),
    "Networks": (list_models, list_layers, train_network),
    "Units of any network": (draw_unit, draw_atlas, dissect_network),
    "Data, teaching, documentation": (
        fetch_dataset,
        copy_for_students,
        mark_hand_ins,
        write_docs,
    ),
}


class Grouped(click.Group):
    """A command whose help lists its commands by subject."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of `GROUPS`; click calls this for --help."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(str(c.name), c.get_short_help_str(80)) for c in commands])


@click.group(cls=Grouped, no_args_is_help=False, context_settings={"show_default": True})
@click.version_option(__version__, prog_name="cnnvis")
def cnnvis() -> None:
    """See what convolutional networks have learned.

    `cnnvis COMMAND --help` explains a command and gives an example.
    """


for command in (command for group in GROUPS.values() for command in group):
    cnnvis.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit status.
    """
    _prepare_streams()
    try:
        return _run(argv)
    finally:
        _drop_unwritable("stdout")


def _run(argv: Sequence[str] | None) -> int:
    """Run a command; return the exit status, also of any error that is reported in one line."""
    try:
        if argv is None and (instruction := os.environ.get(COMPLETION)):
            return shell_complete(cnnvis, {}, "cnnvis", COMPLETION, instruction)
        words = list(sys.argv[1:] if argv is None else argv)
        with cnnvis.make_context("cnnvis", words) as context:
            status = cnnvis.invoke(context)
        sys.stdout.flush()  # a closed pipe is noticed here
        return status or 0
    except click.exceptions.Exit as end:  # after --help
        return end.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "cnnvis"
        return _report(f"{error.format_message()} See {command} --help")
    except LabError as error:
        return _report(str(error))
    except KeyboardInterrupt:
        # The notebook's client leaves a task behind that would log an error about the dead kernel.
        logging.getLogger("asyncio").disabled = True
        _report("interrupted; the same command resumes from here")
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        return 0
    except SystemExit as end:  # of the user's own code
        return _report(f"the network's own code has exited ({end.code}); mend the code")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not NO_MEMORY.search(str(error)):
            raise
        return _report("out of memory; choose fewer images or a smaller network")
    except OSError as error:  # such as a full disk
        cause = f"{printable(str(error.filename))}: {error.strerror}" if error.filename else error
        return _report(f"{cause}; check the path, its permissions and the free space")


def _report(message: str) -> int:
    """Print an error as one line, if the error stream takes it; return its exit status."""
    try:
        close_bars()
        print(printable(f"cnnvis: {' '.join(message.split())}"), file=sys.stderr, flush=True)
    except OSError:
        _drop_unwritable("stderr")
    return 2


def _prepare_streams() -> None:
    """Replace streams that were closed before the start, and let all take every character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_unwritable(name: str) -> None:
    """Drop what a stream cannot write, so that Python does not try again at its end."""
    stream = getattr(sys, name)
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
