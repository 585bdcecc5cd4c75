"""The `cnnvis` command."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ..core.errors import InputError, LabError
from . import commands as more
from .commands import weights_given

# Heavy modules are imported inside the commands that need them, so that `cnnvis render` with
# nothing to do, and every error message, come at once.


def _render(args: argparse.Namespace) -> int:
    from . import notebooks, render

    known = notebooks.read_all()
    overrides: dict[str, str] = dict(args.parameter)
    if args.model:
        overrides["MODEL"] = args.model
    if args.weights:
        overrides["WEIGHTS"] = weights_given(args.weights)
    jobs = render.plan(
        args.notebook, known, preset=args.preset, overrides=overrides, out=args.out.resolve()
    )
    failures = render.render(
        jobs, known, workers=args.jobs, force=args.force, keep_going=args.keep_going
    )
    return 1 if failures else 0


def _verify(args: argparse.Namespace) -> int:
    from . import gallery, notebooks

    problems = gallery.verify(args.out, notebooks.read_all())
    print("\n".join(problems) or f"every file in {args.out} is as it was recorded")
    return 1 if problems else 0


def _claims(args: argparse.Namespace) -> int:
    from . import gallery, notebooks

    rows = gallery.claims_table(args.out, notebooks.read_all())
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        missing = "not measurable" if row["note"] else "not measured yet"
        verdict = {None: missing, True: "holds", False: "DOES NOT HOLD"}[row["holds"]]
        value = "" if row["measured"] is None else f"{row['measured']:.4g}"
        print(f"{row['id']:8} {verdict:17} {value:>9} {row['expected']:9} {row['text']}")
    return 0


def _models(args: argparse.Namespace) -> int:
    from .. import models

    table = models.shipped()
    for name in models.names():
        row = table.get(name)
        if row:
            about = f"shipped, {row['accuracy']:.1%} held-out, {row['parameters']:,} weights"
        else:
            about = "give --weights FILE"
        print(f"{name:32} {about}")
    return 0


def _layers(args: argparse.Namespace) -> int:
    from .. import models
    from ..core.receptive import layer_table

    model = models.load(args.model, weights=weights_given(args.weights))
    words = {dotted: word for word, dotted in model.layer_aliases.items() if word in model.survey}
    head = ("layer", "survey", "kind", "shape", "field", "stride", "offset", "weights")
    print("{:28} {:9} {:18} {:16} {:>9} {:>7} {:>9} {:>9}".format(*head))
    for row in layer_table(model, model.card.input_size):
        shape = "x".join(map(str, row.shape))
        place = ["x".join(map(str, pair)) for pair in row.field] if row.field else ["?"] * 3
        name = row.name.removeprefix("net.")
        print(
            f"{name:28} {words.get(row.name, ''):9} {row.kind:18} {shape:16} "
            f"{place[0]:>9} {place[1]:>7} {place[2]:>9} {row.parameters:>9}"
        )
    return 0


def _dissect(args: argparse.Namespace) -> int:
    import shutil

    import torch

    from .. import models
    from ..core import hooks
    from ..core.files import check_writable
    from ..data import labelled
    from ..methods.dissection import dissect
    from ..methods.dissection_probe import named
    from . import dissection_page

    torch.set_num_threads(args.threads)
    model = models.load(args.model, weights=weights_given(args.weights))
    for layer in args.layers:  # mistakes are told before pictures are drawn
        hooks.resolve(model, layer)
    named(args.convention)
    count = args.pictures or (sys.maxsize if args.data else 1600)
    data = labelled.open_set(args.data, model.card.input_size, count, args.split)
    out = args.out or Path("reports/dissection") / args.model
    check_writable(out)
    tables = dissect(
        model,
        data,
        args.layers,
        convention=args.convention,
        least_pictures=args.least_pictures,
        top=args.top,
        folder=out / "work",
        progress=_every_tenth,
    )
    page = dissection_page.write(out, model, data, tables, args.convention)
    shutil.rmtree(out / "work")
    (first, *_) = tables.values()
    enough = int((first.pictures >= args.least_pictures).sum())
    seen = f"are seen in {args.least_pictures} pictures or more (--least-pictures)"
    print(f"{enough} of {len(first.concepts)} concepts {seen} and can name a unit")
    for layer, table in tables.items():
        unique = sum(table.unique().values())
        print(f"{layer}: {len(table.detectors())} of {len(table)} units detect {unique} concepts")
    print(f"see {page}")
    return 0


def _every_tenth(done: int, total: int) -> None:
    """Say how far a dissection is, ten times in all."""
    if done == total or done * 10 // total > (done - 64) * 10 // total:
        print(f"{done / total:.0%} of both passes", file=sys.stderr, flush=True)


def _fetch(args: argparse.Namespace) -> int:
    from ..data import broden_download

    folder = broden_download.fetch(
        args.name,
        args.out,
        url=args.url,
        sha256=args.sha256,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(folder)
    return 0


def _student(args: argparse.Namespace) -> int:
    from . import notebooks, student

    texts = student.copies(args.notebook, notebooks.read_all())
    for file in student.write(texts, args.out, force=args.force):
        print(file)
    return 0


def _train(args: argparse.Namespace) -> int:
    import torch

    from ..core.errors import not_found
    from ..core.files import check_writable
    from ..models import decoder_training, generator_training, training

    every = (training, generator_training, decoder_training)
    rooms = [room for room in every if args.name in room.RECIPES]
    if not rooms:
        raise not_found("recipe", args.name, [name for room in every for name in room.RECIPES])
    check_writable(args.out)
    torch.set_num_threads(args.threads)
    trained = rooms[0].train(args.name, args.out, progress=lambda line: print(line, flush=True))
    if args.ship:
        row = rooms[0].ship(args.name, trained)
        print(f"{args.name}: shipped, {row['parameters']:,} weights, sha256 {row['sha256']}")
    return 0


class _Parser(argparse.ArgumentParser):
    """Reports a mistake like every other, in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help tells more")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cnnvis", description="See what convolutional networks have learned.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    render = command("render", _render, "Draw the figures of notebooks, all by default.")
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
    verify = command("verify", _verify, "Check every file of a results folder by its hash.")
    claims = command("claims", _claims, "List every claim and what was measured.")
    claims.add_argument("--json", action="store_true")
    for with_out in (render, verify, claims):
        with_out.add_argument("--out", type=Path, default=Path("reports"), help="results folder")
    command("models", _models, "List the networks that can be loaded by name.")
    layers = command("layers", _layers, "List a network's layers with their receptive fields.")
    layers.add_argument("model")
    layers.add_argument("--weights", default="", help="weights file, or random")
    dissect = command("dissect", _dissect, "Find the concepts that a network's units detect.")
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
    dissect.add_argument("--least-pictures", type=int, default=10, help="that show a concept")
    dissect.add_argument("--top", type=int, default=4, help="pictures shown of each unit")
    dissect.add_argument("--threads", type=int, default=2)
    more.declare(command)
    fetch = command("fetch", _fetch, "Download labelled pictures: broden1_224, _227 or _384.")
    fetch.add_argument("name", help="then a name for --data, too")
    fetch.add_argument("--out", default="", help="folder; one in the user's cache without")
    fetch.add_argument("--sha256", default="", help="refuse a file of another hash")
    fetch.add_argument("--url", default="", help="another place that has the same file")
    student = command("student", _student, "Copy notebooks without the exercises' solutions.")
    student.add_argument("out", type=Path, metavar="OUTDIR", help="folder of the copies")
    student.add_argument(
        "notebook", nargs="*", default=[], help="name, or its beginning; all without"
    )
    student.add_argument("--force", action="store_true", help="replace other copies there")
    train = command("train", _train, "Train a shipped network from scratch; resumes.")
    train.add_argument("name")
    train.add_argument("--out", type=Path, default=Path("reports/training"), help="checkpoints")
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--ship", action="store_true", help="write it into the package")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        args = _parser().parse_args(argv)
        for name in ("jobs", "threads", "top", "least_pictures"):
            if getattr(args, name, 1) < 1:
                option = name.replace("_", "-")
                raise InputError(f"--{option} {getattr(args, name)}: expected at least 1")
        status = args.run(args)
        sys.stdout.flush()  # so that a reader who has left is noticed here
        return status
    except LabError as error:
        print(f"cnnvis: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # The notebook's client leaves a task behind that would complain of the dead kernel.
        logging.getLogger("asyncio").disabled = True
        print("cnnvis: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # such as a full disk
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"cnnvis: {what}; check the path, its rights, and the room there", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
