"""The command that trains: shipped networks, and decoders and generators for any network."""

from types import SimpleNamespace
from typing import Any

import click
from click.core import ParameterSource

from ...core import InputError
from ..parameters import check_device
from . import options

OF_ANY_NETWORK = ("decoder", "generator")
# of shipped networks, whose recipes determine the rest
OF_SHIPPED = ("name", "more", "out", "threads", "device", "ship", "jobs", "cluster")


@click.command("train")
@click.argument("name")
@click.argument("more", nargs=-1, metavar="[NAME]...")
@options.text("--model", metavar="NAME", help="For `decoder` and `generator`: the network.")
@options.weights
@options.own_network
@options.text("--layer", help="The layer whose codes are read, see `cnnvis layers`.")
@options.text("--data", metavar="DIR", help="Folder of images.  [default: synthetic scenes]")
@click.option("--images", type=options.COUNT, help="Number of images.  [default: all of a folder]")
@click.option(
    "--minutes", type=options.FiniteRange(0, min_open=True), help="Limit of the training."
)
@click.option("--epochs", type=options.COUNT, help="Epochs of 100 steps.  [default: 100]")
@click.option("--batch", type=click.IntRange(1, 4096), default=16, help="Images of a step.")
@click.option(
    "--width", type=click.IntRange(1, 512), default=32, help="Maps of the last hidden layer."
)
@click.option(
    "--workers",
    type=click.IntRange(0, options.MAX_THREADS),
    default=0,
    help="Processes that load images.",
)
@click.option(
    "--bfloat16/--float32", default=None, help="Precision.  [default: bfloat16 on a GPU only]"
)
@click.option(
    "--out", type=options.NEW_FOLDER, default="reports/training", help="Folder of the checkpoints."
)
@options.threads
@options.text("--device", help="Torch device, such as cpu; the GPU where there is one.")
@click.option("--ship", is_flag=True, help="Write the trained network into the package.")
@options.jobs("Number of processes that share the work.")
@options.cluster
def train_network(**given: Any) -> None:
    """Train networks, a decoder or a generator; an interrupted run resumes.

    NAME is `decoder` or `generator`, for any layer of any network (--model, --weights, --layer);
    notebooks take the trained file by DECODERS or GENERATOR. Or it is a shipped network listed by
    `cnnvis models`, generator such as generator_FL1, or decoder such as decoder_CL5, or `all`:
    every one of them in order, each written into the package before those that are trained on its
    codes. Several may be named; with --jobs, other processes train them, one each, and with
    --cluster the networks among them.

    \b
    Example:
      cnnvis train alexnet_mini
      cnnvis train alexnet_mini_repeat0 alexnet_mini_no_dropout --jobs 2 --threads 1
      cnnvis train decoder --model squeezenet1_1 --weights FILE --layer features.7 --data DIR
    """
    args = SimpleNamespace(**given)
    is_own = args.name in OF_ANY_NETWORK
    if is_own:
        _check_own(args)
    else:
        _check_options(args.name)
    import torch  # slow, after mistakes have been reported

    torch.set_num_threads(args.threads)
    if args.device:
        check_device("--device", args.device)
    if is_own:
        _train_for_any_network(args)
    else:
        _train_shipped(args, [args.name, *args.more])


def _check_options(name: str) -> None:
    """Check that no option is given that a shipped network's recipe does not leave open."""
    context = click.get_current_context()
    for option in context.command.params:
        is_given = context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        if is_given and option.name not in OF_SHIPPED:
            raise InputError(
                f"train {name}: {option.opts[0]} is for `train decoder` and `train generator`; "
                "leave it out"
            )


def _check_own(args: SimpleNamespace) -> None:
    """Check that the options are those of a decoder or generator for any network."""
    for option in ("model", "layer"):
        if not getattr(args, option):
            raise InputError(f"train {args.name}: expected --{option}; see cnnvis train --help")
    if args.ship or args.more or args.jobs > 1 or args.cluster:
        raise InputError(
            f"train {args.name}: further names, --ship, --jobs and --cluster are for the shipped "
            "networks; leave them out"
        )


def _train_for_any_network(args: SimpleNamespace) -> None:
    from ...core import hooks
    from ...models.training import own

    model = options.load_network(args)
    with options.naming("--layer"):
        hooks.resolve(model, args.layer)
    with options.naming("--data" if args.data else "--images"):
        sets = own.training_sets(args.data, model.card.input_size, args.images)
    name = own.name_of(args.name, model, args.layer)
    own.check_checkpoint(args.out, name)
    run = own.RunOptions(args.minutes or 0, args.workers, args.device)
    changes = {"batch": args.batch, "width": args.width}
    given = {"epochs": args.epochs, "bfloat16": args.bfloat16}
    changes |= {name: value for name, value in given.items() if value is not None}
    trainer = own.build(args.name, model, args.layer, *sets, run=run, **changes)
    trainer.run(name, args.out, click.echo)
    parameter = "DECODERS" if args.name == "decoder" else "GENERATOR"
    click.echo(f"see {args.out / name}.safetensors; notebooks take it as {parameter}")


def _train_shipped(args: SimpleNamespace, names: list[str]) -> None:
    from ...core import choose
    from ...models import training

    if "all" in names and len(names) > 1:
        raise InputError("train all: further names were given; leave them out")
    if names == ["all"] and not args.ship:
        raise InputError(
            "train all: generators and decoders are trained on the shipped networks; add --ship, "
            "which writes every trained network into the package"
        )
    names = training.order() if names == ["all"] else names
    for name in names:  # before the first one is trained
        choose("recipe", name, dict.fromkeys(training.recipe_names()))
    for part in training.rounds(names):
        are_networks = part[0] in training.classifier.RECIPES
        if are_networks if args.cluster else args.jobs > 1:
            _train_elsewhere(args, part)
        for name in part:
            trained = training.train(name, args.out, click.echo, device=args.device)
            if args.ship:
                row = trained.export(name)
                size = f"{row['parameters']:,} weights"
                click.echo(f"{name}: shipped, {size}, sha256 {row['sha256']}")


def _train_elsewhere(args: SimpleNamespace, names: list[str]) -> None:
    """Train networks in other processes; their finished checkpoints lie in the folder then."""
    from ..executors import open_executor
    from ..trainings import train_elsewhere

    with open_executor(args.jobs, args.cluster) as executor:
        for name in train_elsewhere(executor, names, args.out, args.device, args.threads):
            click.echo(f"{name}: trained")
