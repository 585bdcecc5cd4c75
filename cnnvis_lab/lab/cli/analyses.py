"""Commands that analyze one network: dissect, unit."""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from ..progress import progress_bar
from . import options


@click.command("unit")
@options.model
@click.argument("target", metavar="LAYER:UNIT")
@options.weights
@options.own_network
@options.text("--data", metavar="DIR", help="Folder of images.  [default: synthetic scenes]")
@click.option("--images", type=options.COUNT, default=640, help="Number of images to look at.")
@click.option("--skip-damaged", is_flag=True, help="Leave damaged images of the folder out.")
@options.text("--record", metavar="DIR", help="Folder of a recorded training of the network.")
@options.threads
@click.option(
    "--out", type=options.NEW_FOLDER, default="reports/units", help="Folder of the figure."
)
def draw_unit(**given: Any) -> None:
    """Analyze one unit by all methods and draw the results as one figure.

    MODEL is a name listed by `cnnvis models`. LAYER:UNIT is, for example, CL5:3; units count from
    0, and layers are listed by `cnnvis layers MODEL`.

    \b
    Example:
      cnnvis unit alexnet_mini CL5:3 --out units
    """
    from ...core import files
    from ...data import has_labels, open_images, open_labelled
    from ...methods import unit_profile
    from ..reproducibility import make_reproducible

    args = SimpleNamespace(**given)
    make_reproducible(0, args.threads)
    model = options.load_network(args)
    with options.naming("LAYER:UNIT"):
        layer, unit = unit_profile.resolve_unit(model, args.target)
    history = None
    if args.record:
        with options.naming("--record"):
            history = unit_profile.recorded_history(args.record)
    with options.naming("--data" if args.data else "--images"):
        size, count = model.card.input_size, args.images
        if has_labels(args.data):
            dataset = open_labelled(args.data, size, count)
        else:
            dataset = open_images(args.data, size, count, skip_damaged=args.skip_damaged)
    from ..figures import to_png  # matplotlib, after mistakes have been reported
    from ..figures import unit as unit_figure

    profile = unit_profile.profile(
        model,
        args.target,
        dataset,
        generator=unit_profile.generator_for(model, dataset),
        history=history or unit_profile.shipped_history(model),
        on_progress=progress_bar("parts of the figure"),
    )
    file = args.out / f"{model.card.name}_{layer}_{unit}.png"
    files.write_atomically(file, to_png(unit_figure.draw_profile(profile)))
    click.echo(f"{profile}; see {file}")


@click.command("dissect")
@options.model
@click.argument("more_layers", nargs=-1, metavar="")
@click.option(
    "--layers",
    multiple=True,
    required=True,
    metavar="LAYER...",
    help="Layers to dissect, by torch's or the survey's names.",
)
@options.text(
    "--data",
    metavar="DIR",
    help="Folder in the Broden format, or the name of a fetched one.  [default: synthetic scenes]",
)
@options.weights
@options.own_network
@click.option(
    "--out",
    type=options.NEW_FOLDER,
    help="Folder of the page.  [default: reports/dissection/MODEL]",
)
@click.option(
    "--convention",
    default="original",
    help="How masks are computed and compared: original, lite, quick or 2020.",
)
@click.option(
    "--images",
    type=options.COUNT,
    help="Number of images.  [default: all of a folder, 1600 synthetic scenes]",
)
@click.option("--split", default="all", help="Part of a folder: train, val or all.")
@click.option(
    "--min-images",
    type=options.COUNT,
    default=10,
    help="Concepts that occur in fewer images are not assigned to units.",
)
@click.option(
    "--top", type=click.IntRange(1, 32), default=4, help="Top-activating images shown per unit."
)
@click.option("--skip-damaged", is_flag=True, help="Leave damaged images of the folder out.")
@options.threads
@options.jobs("Number of processes that share the work.")
@options.cluster
def dissect_network(**given: Any) -> None:
    """Find the concepts that a network's units detect.

    Writes a page to search in, tables and arrays. MODEL is a name listed by `cnnvis models`. With
    --jobs or --cluster, other processes share the batches, each with --threads threads.

    \b
    Example:
      cnnvis dissect alexnet_mini --layers CL1 CL5 --images 400
    """
    import torch

    from ...core import choose, files, hooks
    from ...methods import dissection
    from .. import gallery, locks
    from ..shared_scenes import shared_scenes

    args = SimpleNamespace(**given)
    args.model = files.resolve_source(args.model)
    torch.set_num_threads(args.threads)
    model = options.load_network(args)
    layers = [*args.layers, *args.more_layers]  # `--layers CL1 CL5`: the rest are arguments
    with options.naming("--layers"):  # report mistakes before images are generated
        for layer in layers:
            hooks.resolve(model, layer)
    with options.naming("--convention"):
        choose("convention", args.convention, dissection.CONVENTIONS)
    count = args.images or (sys.maxsize if args.data else 1600)
    scenes = click.get_current_context().with_resource(shared_scenes())
    dataset = _open_labelled(args, model.card.input_size, count, scenes.folder)
    out = args.out or Path("reports/dissection") / model.card.name
    with (
        locks.locked_folder(out),
        _resumable_work(out, given) as work,
        _spread(args, count, scenes) as spread,
    ):
        tables = dissection.dissect(
            model,
            dataset,
            layers,
            convention=args.convention,
            min_images=args.min_images,
            top=args.top,
            run=dissection.RunOptions(
                folder=work, on_progress=progress_bar("images of both passes"), spread=spread
            ),
        )
        page = gallery.dissection.write_dissection(out, model, dataset, tables, args.convention)
    (first, *_) = tables.values()
    click.echo(
        f"{first.used_concepts} of {len(first.concepts)} concepts occur in at least "
        f"{args.min_images} images (--min-images) and can be assigned to units"
    )
    for layer, table in tables.items():
        unique, detectors = sum(table.unique_concepts().values()), len(table.detectors())
        click.echo(f"{layer}: {detectors} of {len(table)} units detect {unique} concepts")
    click.echo(f"see {page}")


def _open_labelled(args: SimpleNamespace, size: Any, count: int, folder: str) -> Any:
    """Open the images of a dissection; scenes that other processes draw are not drawn here."""
    from ...data import check_files, open_labelled
    from .. import inputs

    with options.naming("--data" if args.data else "--images"):
        shared = bool(args.cluster) or args.jobs > 1
        dataset = open_labelled(
            args.data,
            size,
            count,
            args.split,
            skip_damaged=args.skip_damaged,
            lazy=shared,
            folder=folder if shared else "",
        )
        if args.data and not args.skip_damaged:
            check_files(dataset, inputs.CHECKED_IMAGES)
    return dataset


@contextmanager
def _spread(args: SimpleNamespace, images: int, scenes: Any) -> Generator[Any]:
    """Yield where batches are shared, see `dissection.Spread`; None if this process runs them."""
    from ...methods import dissection
    from ..dissection_source import spread_source
    from ..executors import open_executor

    if args.jobs == 1 and not args.cluster:
        yield None
        return
    with open_executor(args.jobs, args.cluster) as executor:
        # Meanwhile workers start.
        source = spread_source(args, options.network_options(args), images, scenes)
        yield dissection.Spread(executor, source, scenes.here)


@contextmanager
def _resumable_work(out: Path, options: Mapping[str, object]) -> Generator[Path]:
    """Yield a scratch folder that stays only if the command is interrupted, or loses its cluster.

    The same options and the same files that were read give the same folder; those of other
    dissections into `out` are removed. Where the command runs makes no difference.
    """
    from ...core import files, scratch
    from ..executors import Lost

    named = sorted(item for item in options.items() if item[0] not in ("jobs", "cluster"))
    state = json.dumps([named, files.recorded_inputs()], default=str)
    key = sha256(state.encode()).hexdigest()[:16]
    work = scratch.make(out, "dissection", key)
    scratch.remove_all(out, "dissection", keep=work)
    try:
        yield work
    except (KeyboardInterrupt, Lost):
        raise
    except BaseException:
        scratch.remove(work)
        raise
    scratch.remove(work)
