"""Commands of `cnnvis` beside rendering: one unit by all methods, and two runs compared."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..core.errors import InputError

# As in `cli`, heavy modules are imported inside the commands that need them.


def weights_given(given: str) -> str:
    """Return a weights file's whole path; "download" and "random" stay as they are.

    Raises:
        InputError: no such file.
    """
    if given in ("", "download", "random"):
        return given
    if not Path(given).is_file():
        raise InputError(f"no weights file at {given}; check the path")
    return str(Path(given).resolve())


def declare(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands.

    Args:
        command: makes a parser of a command's name, what runs it, and a line about it.
    """
    one = command("unit", unit, "Draw one unit by all methods, as one figure.")
    one.add_argument("model")
    one.add_argument("target", metavar="LAYER:UNIT", help="such as CL5:3; units count from 0")
    one.add_argument("--weights", default="", help="weights file, download or random")
    one.add_argument("--data", default="", help="folder of pictures; the embedded world without")
    one.add_argument("--pictures", type=int, default=640, help="first so many")
    one.add_argument("--record", default="", help="folder of a recorded training")
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--out", type=Path, default=Path("reports/units"), help="folder")
    two = command("compare", compare, "Compare two results folders on one page.")
    two.add_argument("one", type=Path, metavar="DIR", help="a folder that cnnvis render has filled")
    two.add_argument("other", type=Path, metavar="DIR", help="another one")
    two.add_argument("--out", type=Path, default=Path("reports/compared.html"), help="the page")


def unit(args: argparse.Namespace) -> int:
    """Draw one unit."""
    from .. import models
    from ..core.files import check_writable, write_whole
    from ..data import labelled, pictures
    from ..methods import unit_life, unit_story
    from . import unit_figure
    from .run import make_reproducible
    from .style import to_png

    make_reproducible(0, args.threads)
    model = models.load(args.model, weights=weights_given(args.weights))
    layer, number = unit_story.target_of(model, args.target)
    training = unit_life.recorded(args.record) if args.record else unit_life.begun(model)
    opener = labelled if labelled.has_labels(args.data) else pictures
    data = opener.open_set(args.data, model.card.input_size, args.pictures)
    check_writable(args.out)
    painter = unit_story.painter_for(model, data)
    story = unit_story.tell(
        model, args.target, data, painter=painter, training=training, progress=_part
    )
    file = args.out / f"{args.model}_{layer}_{number}.png"
    write_whole(file, to_png(unit_figure.draw(story)))
    print(f"{story}; see {file}")
    return 0


def _part(done: int, of: int) -> None:
    """Say how far a story is, which takes minutes."""
    told = ("its pictures", "what excites it", "the generator", "its life")
    print(f"{done} of {of}: {told[done - 1]}", file=sys.stderr, flush=True)


def compare(args: argparse.Namespace) -> int:
    """Compare two runs."""
    from . import compare as compared
    from . import notebooks

    print(compared.write(args.one, args.other, args.out, notebooks.read_all()))
    return 0
