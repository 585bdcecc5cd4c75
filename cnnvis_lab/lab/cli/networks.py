"""Commands on networks: models, layers."""

from types import SimpleNamespace
from typing import Any

import click

from . import options


@click.command("models")
def list_models() -> None:
    """List the networks that can be loaded by name.

    \b
    Example:
      cnnvis models
    """
    from ... import models

    table = models.shipped()
    for name in models.names():
        about = "give --weights FILE"
        if row := table.get(name):
            about = f"shipped, {row['accuracy']:.1%} held-out, {row['parameters']:,} weights"
        click.echo(f"{name:32} {about}")


@click.command("layers")
@options.model
@options.weights
@options.own_network
def list_layers(**given: Any) -> None:
    """List a network's layers with their shapes and receptive fields.

    MODEL is a name listed by `cnnvis models`, `timm:NAME`, or code of your own that builds a
    network: `file.py:factory` or `package.module:factory`.

    \b
    Example:
      cnnvis layers resnet18 --weights random
    """
    from ...core import receptive_field

    network = options.load_network(SimpleNamespace(**given))
    aliases = {f"net.{name}": alias for alias, name in network.survey_layers.items()}
    head = ("layer", "survey", "kind", "shape", "field", "stride", "offset", "weights")
    click.echo("{:28} {:9} {:18} {:16} {:>9} {:>7} {:>9} {:>9}".format(*head))
    for row in receptive_field.layer_table(network, network.card.input_size):
        shape = "x".join(map(str, row.shape))
        field, stride, offset = (
            ["x".join(map(str, pair)) for pair in row.field] if row.field else ["?"] * 3
        )
        name = row.name.removeprefix("net.")
        click.echo(
            f"{name:28} {aliases.get(row.name, ''):9} {row.kind:18} {shape:16} "
            f"{field:>9} {stride:>7} {offset:>9} {row.parameters:>9}"
        )
