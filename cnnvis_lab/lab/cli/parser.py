"""The parser of the `cnnvis` command: one function per command."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ...core import InputError
from .analyses import run_dissect, run_unit
from .data import run_fetch, run_student
from .networks import run_layers, run_models, run_train
from .results import run_claims, run_compare, run_render, run_verify


def add_unit_and_compare(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands.

    Args:
        command: makes a parser of a command's name, what runs it, and a line about it.
    """
    one = command("unit", run_unit, "Draw one unit by all methods, as one figure.")
    one.add_argument("model")
    one.add_argument("target", metavar="LAYER:UNIT", help="such as CL5:3; units count from 0")
    one.add_argument("--weights", default="", help="weights file, download or random")
    one.add_argument("--data", default="", help="folder of pictures; the embedded world without")
    one.add_argument("--pictures", type=int, default=640, help="first so many")
    one.add_argument("--record", default="", help="folder of a recorded training")
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--out", type=Path, default=Path("reports/units"), help="folder")
    two = command("compare", run_compare, "Compare two results folders on one page.")
    two.add_argument("one", type=Path, metavar="DIR", help="a folder that cnnvis render has filled")
    two.add_argument("other", type=Path, metavar="DIR", help="another one")
    two.add_argument("--out", type=Path, default=Path("reports/compared.html"), help="the page")


class Parser(argparse.ArgumentParser):
    """Reports a mistake like every other, in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as an InputError."""
        raise InputError(f"{message}; {self.prog} --help tells more")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(prog="cnnvis", description="See what convolutional networks have learned.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    render = command("render", run_render, "Draw the figures of notebooks, all by default.")
    # With a default argparse does not call it required where another argument is missing.
    render.add_argument("notebook", nargs="*", default=[], help="name, or its beginning such as 01")
    render.add_argument("--preset", default="default", help="smoke, default or paper")
    render.add_argument(
        "-p", dest="parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    render.add_argument("--model", help="network to look into: sets MODEL")
    render.add_argument("--weights", help="its weights file: sets WEIGHTS")
    render.add_argument("--jobs", type=int, default=1, help="notebooks run at the same time")
    render.add_argument("--force", action="store_true", help="redraw what is up to date, too")
    render.add_argument("--keep-going", action="store_true", help="go on after a failure")
    verify = command("verify", run_verify, "Check every file of a results folder by its hash.")
    claims = command("claims", run_claims, "List every claim and what was measured.")
    claims.add_argument("--json", action="store_true")
    for with_out in (render, verify, claims):
        with_out.add_argument("--out", type=Path, default=Path("reports"), help="results folder")
    command("models", run_models, "List the networks that can be loaded by name.")
    layers = command("layers", run_layers, "List a network's layers with their receptive fields.")
    layers.add_argument("model")
    layers.add_argument("--weights", default="", help="weights file, or random")
    dissect = command("dissect", run_dissect, "Find the concepts that a network's units detect.")
    dissect.add_argument("model")
    dissect.add_argument("--layers", nargs="+", required=True, help="names as cnnvis layers says")
    dissect.add_argument(
        "--data", default="", help="Broden folder, or fetched name; the embedded world without"
    )
    dissect.add_argument("--weights", default="", help="weights file, download or random")
    dissect.add_argument("--out", type=Path, help="folder; reports/dissection/MODEL without")
    dissect.add_argument("--convention", default="original", help="how masks are compared")
    dissect.add_argument(
        "--pictures", type=int, default=0, help="first so many; 0 for 1,600, or a folder's all"
    )
    dissect.add_argument("--split", default="all", help="of a folder: train, val or all")
    dissect.add_argument("--min-images", type=int, default=10, help="that show a concept")
    dissect.add_argument("--top", type=int, default=4, help="pictures shown of each unit")
    dissect.add_argument("--threads", type=int, default=2)
    add_unit_and_compare(command)
    fetch = command("fetch", run_fetch, "Download labelled pictures: broden1_224, _227 or _384.")
    fetch.add_argument("name", help="then a name for --data, too")
    fetch.add_argument("--out", default="", help="folder; one in the user's cache without")
    fetch.add_argument("--sha256", default="", help="refuse a file of another hash")
    fetch.add_argument("--url", default="", help="another place that has the same file")
    student = command("student", run_student, "Copy notebooks without the exercises' solutions.")
    student.add_argument("out", type=Path, metavar="OUTDIR", help="folder of the copies")
    student.add_argument(
        "notebook", nargs="*", default=[], help="name, or its beginning; all without"
    )
    student.add_argument("--force", action="store_true", help="replace other copies there")
    train = command("train", run_train, "Train a shipped network from scratch; resumes.")
    train.add_argument("name")
    train.add_argument("--out", type=Path, default=Path("reports/training"), help="checkpoints")
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--ship", action="store_true", help="write it into the package")
    return parser
