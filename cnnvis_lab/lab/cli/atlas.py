"""The command that draws the atlas of a network, or compares two."""

from concurrent.futures import Executor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from ...core import InputError, files
from ..parameters import check_device
from ..progress import progress_bar
from . import options

MAX_STEPS = 100_000  # whose activations are stored while a chunk is drawn


@click.command("atlas")
@options.model
@click.argument("more", nargs=-1, metavar="")
@click.option(
    "--layers",
    multiple=True,
    metavar="LAYER...",
    help="Layers to show, by torch's or the survey's names.  [default: all]",
)
@click.option("--units", type=options.COUNT, help="Units of each layer, from 0.  [default: all]")
@click.option(
    "--steps", type=click.IntRange(1, MAX_STEPS), help="Optimization steps.  [default: 48]"
)
@options.text("--data", metavar="DIR", help="Folder of images.  [default: synthetic scenes]")
@click.option("--images", type=options.COUNT, default=1600, help="Number of images, at most.")
@click.option("--skip-damaged", is_flag=True, help="Leave damaged images of the folder out.")
@click.option("--rule", default="deconvnet", help="Backward rule of the projections.")
@options.weights
@options.own_network
@click.option("--device", default="cpu", help="Torch device, such as cuda.")
@options.threads
@options.jobs("Number of processes that share the work.")
@options.cluster
@click.option(
    "--out", type=options.FOLDER, help="Folder, or page to write.  [default: reports/atlas/MODEL]"
)
def draw_atlas(**given: Any) -> None:
    """Show every unit of a network by all methods, as pages that open without a server.

    MODEL is a name listed by `cnnvis models`. An interrupted command resumes. `cnnvis atlas compare
    DIR DIR` matches the units of two atlases by the concepts that they detect.

    \b
    Example:
      cnnvis atlas alexnet_mini --layers CL1 CL3
      cnnvis atlas compare reports/atlas/alexnet_mini reports/atlas/zfnet_mini
    """
    args = SimpleNamespace(**given)
    if args.model == "compare":
        _compare(args)
    elif args.more and not args.layers:
        raise InputError(f"{' '.join(args.more)}: not expected; layers follow --layers")
    else:
        _draw(args)


def _compare(args: SimpleNamespace) -> None:
    from .. import gallery

    if len(args.more) != 2:
        raise InputError(f"compare: {len(args.more)} folders given; expected those of two atlases")
    file = args.out or Path("reports/atlas/compare.html")
    first, second = args.more
    click.echo(f"see {gallery.atlas.write_comparison(first, second, file)}")


def _draw(args: SimpleNamespace) -> None:
    if args.out:
        with options.naming("--out"):
            files.check_writable(args.out)
    from .. import gallery
    from ..executors import open_executor

    check_device("--device", args.device)
    network = options.network_options(args) | {"device": args.device}
    source = gallery.atlas.Source(
        files.resolve_source(args.model),
        tuple(network.items()),
        str(Path(args.data).resolve()) if Path(args.data or "none").is_dir() else args.data,
        args.images,
        args.skip_damaged,
        (*args.layers, *args.more),
        args.units,
        args.steps or gallery.atlas.DEFAULT_STEPS,
        args.rule,
        args.threads,
    )
    # A cluster's address is tried before images are drawn.
    with open_executor(args.jobs, args.cluster) as executor:
        spread = args.jobs > 1 or args.cluster
        page = _write(source, args.out, executor if spread else None)
    click.echo(f"see {page}")


def _write(source: Any, out: Path | None, executor: Executor | None) -> Path:
    from .. import gallery, locks, shared_scenes

    scenes = click.get_current_context().with_resource(shared_scenes.shared_scenes())
    shared = (True, scenes.folder) if executor else (False, "")  # others draw them
    subject = gallery.atlas.open_subject(source, *shared, out)
    out = out or Path("reports/atlas") / subject.model.card.name
    with locks.locked_folder(out):
        return gallery.atlas.write_atlas(
            subject,
            out,
            spread=gallery.atlas.spread_on(executor, source, scenes) if executor else None,
            on_scan=progress_bar("images of all passes"),
            on_progress=progress_bar("atlas, in thousandths"),
        )
