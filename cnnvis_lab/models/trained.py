"""Decoders and generators that were trained for any network: one weights file each.

The file's header says what they read: the network, a digest of its weights, the layer and the
layout. The same is written beside it as JSON, for people.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from ..core import FileError, InputError, files, hooks
from . import decoders, generators, registry
from .generators import Generator, GeneratorSpec
from .model import Model
from .weights import load_into, read_state, state_digest, write_half

ABOUT = "cnnvis"  # key in a file's header
SUFFIXES = (".safetensors", ".pt", ".pth")


def write(net: nn.Sequential, path: str | Path, row: Mapping[str, object]) -> None:
    """Write a decoder or generator, and beside it what is known about it.

    Args:
        net: its layers.
        path: the safetensors file.
        row: with the entries "kind", "encoder_digest" and "layout" (a `GeneratorSpec` as a dict).
    """
    text = json.dumps(dict(row), indent=1, sort_keys=True)
    write_half(net, path, {ABOUT: text})
    files.write_atomically(Path(path).with_suffix(".json"), text + "\n")


def describe(path: str | Path) -> dict[str, Any] | None:
    """Return what `write` stored in a file's header; None if it is another file.

    Raises:
        FileError: there is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileError(f"no weights file at {path}; check the path")
    try:
        with safe_open(path, "pt") as file:
            row = json.loads((file.metadata() or {})[ABOUT])
    except Exception:  # a torch file, or a damaged one: reading the weights explains it
        return None
    return row if isinstance(row, dict) else None


def is_file(name: str) -> bool:
    """Return whether a name is that of a file, not of a shipped or published layout."""
    return name.endswith(SUFFIXES) or "/" in name


def load(path: str | Path, kind: str, *, device: str = "cpu") -> Generator:
    """Load a decoder or generator that was trained by `cnnvis train`, frozen.

    Args:
        path: its weights file.
        kind: "decoder" or "generator".
        device: torch device.

    Raises:
        FileError: the file is missing, damaged, or has no layout in its header.
        InputError: it is of the other kind.
    """
    path = Path(path).expanduser()
    row = describe(path)
    spec = _layout(row) if row else None
    if row is None or spec is None:
        raise FileError(
            f"{path.name} does not say what it reads; expected a file of cnnvis train {kind} "
            "(the published ones are given by the name of their layout)"
        )
    if row.get("kind") != kind:
        raise InputError(f"{path.name} is a {row.get('kind')}; expected a {kind}")
    state = read_state(path)
    if _shapes(spec) != {name: value.shape for name, value in state.items()}:
        raise FileError(f"{path.name} has other layers than its header says; train it again")
    net = generators.assemble(spec)
    load_into(net, state, path.name)
    digest = str(row.get("encoder_digest", ""))
    return Generator(path.stem, net, f"weights file {path.name}", spec, digest).to(device)


def _layout(row: Mapping[str, Any]) -> GeneratorSpec | None:
    """Return the layout of a header; None if it is damaged."""
    try:
        stored = row["layout"]
        names = [field.name for field in fields(GeneratorSpec) if field.name in stored]
        values: dict[str, Any] = {name: _as_tuple(stored[name]) for name in names}
        return GeneratorSpec(**values)
    except Exception:  # a header may hold anything
        return None


def _shapes(spec: GeneratorSpec) -> dict[str, torch.Size]:
    """Return the shapes of a layout's weights, of which nothing is allocated; {} if it is none."""
    try:
        with torch.device("meta"):
            return {n: v.shape for n, v in generators.assemble(spec).state_dict().items()}
    except Exception:  # a header may hold anything
        return {}


def _as_tuple(value: object) -> object:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def fits(generator: Generator, model: Model) -> bool:
    """Return whether a decoder or generator was trained on the codes of a network.

    A published one, which does not say on which weights, fits the network of its name.
    """
    if generator.encoder_digest:
        return generator.encoder_digest == state_digest(model.net)
    return generator.spec.encoder == model.card.name


def decoders_of(model: Model, source: str | Path = "") -> dict[str, Generator]:
    """Return layer -> decoder of its codes.

    Args:
        model: the network.
        source: a decoder's file, or a folder of such files, of which those of this network are
            taken: files of `cnnvis train decoder`, and published ones named like their layout in
            `decoders.SPECS`; empty for the shipped decoders.

    Raises:
        FileError: there is no such file or folder, or a file is damaged.
        InputError: none is of this network.
    """
    if not source:
        return decoders.decoders_for(model)
    found = [*_read_all(Path(source).expanduser(), str(model.device))]
    fitting = {decoder.spec.layer: decoder for decoder in found if fits(decoder, model)}
    if not fitting:
        given = ", ".join(f"{d.name} (of {d.spec.encoder})" for d in found) or "no decoder"
        raise InputError(
            f"{source}: {given}; expected decoders of {model.card.name} with its present weights: "
            f"{_command('decoder', model)}"
        )
    for layer, decoder in fitting.items():
        hooks.resolve(model, layer)
        decoder.resized = model.card.input_size  # published ones draw somewhat smaller images
    return fitting


def add_layers(
    model: Model, layers: Mapping[str, str], decoders: Mapping[str, Generator]
) -> dict[str, str]:
    """Return label -> layer, with the layers that decoders read where they run.

    Args:
        model: the network.
        layers: label -> layer.
        decoders: layer -> decoder; layers that are there already are not added.
    """
    order = [*(model.roles.order or (name for name, _ in model.net.named_modules()))]

    def place(layer: str) -> int:
        name = hooks.resolve(model, layer).removeprefix("net.")
        return order.index(name) if name in order else len(order)

    items, known = [*layers.items()], {hooks.resolve(model, layer) for layer in layers.values()}
    for layer in decoders:
        if hooks.resolve(model, layer) not in known:
            later = (n for n, (_, other) in enumerate(items) if place(other) > place(layer))
            items.insert(next(later, len(items)), (layer, layer))
    return dict(items)


def by_layer(
    model: Model, decoders: Mapping[str, Generator], layers: Iterable[str]
) -> dict[str, Generator]:
    """Return layer -> decoder, for those layers that have one, under any of their names.

    Args:
        model: the network.
        decoders: layer -> decoder.
        layers: dotted names or aliases.
    """
    known = {hooks.resolve(model, layer): decoder for layer, decoder in decoders.items()}
    names = {layer: hooks.resolve(model, layer) for layer in layers}
    return {layer: known[name] for layer, name in names.items() if name in known}


def _read_all(source: Path, device: str) -> Iterator[Generator]:
    """Yield the decoders in a file or folder."""
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    for path in paths:
        is_published = path.stem in decoders.SPECS and path.suffix in SUFFIXES
        row = describe(path) if path.suffix == ".safetensors" or len(paths) == 1 else None
        if row and (row.get("kind") == "decoder" or not source.is_dir()):
            yield load(path, "decoder", device=device)
        elif is_published:
            yield decoders.load(path.stem, weights=path, device=device)
        elif not source.is_dir():
            yield load(path, "decoder", device=device)  # which says what is wrong


def how_to_train(kind: str, model: Model) -> str:
    """Return the sentence for the place of what needs a decoder or generator of a network.

    Args:
        kind: "decoder" or "generator".
        model: the network.
    """
    return f"No {kind} was trained for {model.card.name}. To train one: {_command(kind, model)}"


def _command(kind: str, model: Model) -> str:
    name = model.card.name if model.card.name in registry.names() else "MODEL"
    return f"cnnvis train {kind} --model {name} --weights FILE --layer LAYER --data DIR"
