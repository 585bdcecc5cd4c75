"""Commands of `cnnvis` beside rendering: one unit by all methods, and two runs compared."""

import argparse
import sys
from pathlib import Path

from .networks import weights_path


def run_unit(args: argparse.Namespace) -> int:
    """Draw one unit."""
    from ... import models
    from ...core import files
    from ...data import has_labels, open_images, open_labelled
    from ...methods import unit_profile
    from .. import figures
    from ..figures import to_png
    from ..reproducibility import make_reproducible

    make_reproducible(0, args.threads)
    model = models.load(args.model, weights=weights_path(args.weights))
    layer, number = unit_profile.resolve_unit(model, args.target)
    training = (
        unit_profile.recorded_history(args.record)
        if args.record
        else unit_profile.shipped_history(model)
    )
    open_data = open_labelled if has_labels(args.data) else open_images
    data = open_data(args.data, model.card.input_size, args.pictures)
    files.check_writable(args.out)
    painter = unit_profile.generator_for(model, data)
    story = unit_profile.profile(
        model, args.target, data, painter=painter, training=training, on_progress=_report_part
    )
    file = args.out / f"{args.model}_{layer}_{number}.png"
    files.write_atomically(file, to_png(figures.unit.draw_profile(story)))
    print(f"{story}; see {file}")
    return 0


def _report_part(done: int, of: int) -> None:
    """Say how far a story is, which takes minutes."""
    told = ("its pictures", "what excites it", "the generator", "its life")
    print(f"{done} of {of}: {told[done - 1]}", file=sys.stderr, flush=True)


def run_dissect(args: argparse.Namespace) -> int:
    """Dissect layers of a network."""
    import shutil

    import torch

    from ... import models
    from ...core import files, hooks
    from ...data import open_labelled
    from ...methods.dissection import dissect, get_convention
    from .. import gallery

    torch.set_num_threads(args.threads)
    model = models.load(args.model, weights=weights_path(args.weights))
    for layer in args.layers:  # mistakes are told before pictures are drawn
        hooks.resolve(model, layer)
    get_convention(args.convention)
    count = args.pictures or (sys.maxsize if args.data else 1600)
    data = open_labelled(args.data, model.card.input_size, count, args.split)
    out = args.out or Path("reports/dissection") / args.model
    files.check_writable(out)
    tables = dissect(
        model,
        data,
        args.layers,
        convention=args.convention,
        min_images=args.min_images,
        top=args.top,
        folder=out / "work",
        on_progress=_report_every_tenth,
    )
    page = gallery.dissection.write_dissection(out, model, data, tables, args.convention)
    shutil.rmtree(out / "work")
    (first, *_) = tables.values()
    enough = int((first.concept_images >= args.min_images).sum())
    seen = f"are seen in {args.min_images} pictures or more (--min-images)"
    print(f"{enough} of {len(first.concepts)} concepts {seen} and can name a unit")
    for layer, table in tables.items():
        unique = sum(table.unique_concepts().values())
        print(f"{layer}: {len(table.detectors())} of {len(table)} units detect {unique} concepts")
    print(f"see {page}")
    return 0


def _report_every_tenth(done: int, total: int) -> None:
    """Say how far a dissection is, ten times in all."""
    if done == total or done * 10 // total > (done - 64) * 10 // total:
        print(f"{done / total:.0%} of both passes", file=sys.stderr, flush=True)
