"""The `cnnvis` command."""

import argparse
from pathlib import Path

from ...core import InputError


def weights_path(given: str) -> str:
    """Return a weights file's whole path; "download" and "random" stay as they are.

    Raises:
        InputError: no such file.
    """
    if given in ("", "download", "random"):
        return given
    if not Path(given).is_file():
        raise InputError(f"no weights file at {given}; check the path")
    return str(Path(given).resolve())


def run_models(args: argparse.Namespace) -> int:
    """List the networks that can be loaded."""
    from ... import models

    table = models.shipped()
    for name in models.names():
        row = table.get(name)
        if row:
            about = f"shipped, {row['accuracy']:.1%} held-out, {row['parameters']:,} weights"
        else:
            about = "give --weights FILE"
        print(f"{name:32} {about}")
    return 0


def run_layers(args: argparse.Namespace) -> int:
    """Print the layers of a network."""
    from ... import models
    from ...core import receptive_field

    model = models.load(args.model, weights=weights_path(args.weights))
    words = {
        dotted: word for word, dotted in model.layer_aliases.items() if word in model.survey_layers
    }
    head = ("layer", "survey", "kind", "shape", "field", "stride", "offset", "weights")
    print("{:28} {:9} {:18} {:16} {:>9} {:>7} {:>9} {:>9}".format(*head))
    for row in receptive_field.layer_table(model, model.card.input_size):
        shape = "x".join(map(str, row.shape))
        place = ["x".join(map(str, pair)) for pair in row.field] if row.field else ["?"] * 3
        name = row.name.removeprefix("net.")
        print(
            f"{name:28} {words.get(row.name, ''):9} {row.kind:18} {shape:16} "
            f"{place[0]:>9} {place[1]:>7} {place[2]:>9} {row.parameters:>9}"
        )
    return 0


def run_train(args: argparse.Namespace) -> int:
    """Train a shipped network from scratch."""
    import torch

    from ...core import files, not_found
    from ...models.training import classifier, decoder, generator

    every = (classifier, generator, decoder)
    rooms = [room for room in every if args.name in room.RECIPES]
    if not rooms:
        raise not_found("recipe", args.name, [name for room in every for name in room.RECIPES])
    files.check_writable(args.out)
    torch.set_num_threads(args.threads)
    trained = rooms[0].train(args.name, args.out, on_progress=lambda line: print(line, flush=True))
    if args.ship:
        row = rooms[0].ship(args.name, trained)
        print(f"{args.name}: shipped, {row['parameters']:,} weights, sha256 {row['sha256']}")
    return 0
