"""What an atlas says, read from its folder."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ....core import FileError, Float, InputError, hooks
from ....data import images
from ....models import Model
from .plan import network_key

MAX_SIZE = 96  # of an image, in pixels
_IMAGE = re.compile(r"units/[^/\\]+\.webp")


class AtlasUnit(NamedTuple):
    """A unit of an atlas, in brief.

    Attributes:
        unit: its index in the layer.
        image: (3, h, w) image that maximizes its activation; None if there is none.
        concept: the concept that it fits best; empty if there is none.
        iou: IoU with the concept.
        detector: whether the unit is a detector of the concept.
    """

    unit: int
    image: Float[Tensor, "3 h w"] | None
    concept: str
    iou: float
    detector: bool


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Return what the page of an atlas always needs: the network and, of each layer, the units.

    Args:
        folder: folder of the atlas.

    Raises:
        FileError: the folder contains no atlas, or a damaged one.
    """
    file = Path(folder) / "atlas.json"
    try:
        stored = json.loads(file.read_text())
        summary = stored | {"network": str(stored["network"]), "layers": list(stored["layers"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise FileError(f"no atlas in {folder}; make one with `cnnvis atlas MODEL`") from None
    try:
        if all(map(_is_layer, summary["layers"])):
            return summary
    except (LookupError, TypeError, ValueError):  # values of other types
        pass
    raise FileError(f"{file} is damaged; make the atlas again")


def _is_layer(layer: Mapping[str, Any]) -> bool:
    """Whether a stored layer is of the form that `site` writes, and its images are in the atlas."""
    units, firsts, sprites = layer["units"], layer["first"], layer["sprites"]
    are_sound = all(
        _is_index(unit) and isinstance(iou, int | float) and isinstance(concept + kind, str)
        for unit, _, _, _, concept, kind, iou, _, *_ in units
    )
    shown = [sprite for sprite in sprites if sprite is not None]
    return (
        isinstance(layer["name"], str)
        and are_sound
        and all(map(_is_index, firsts))
        and firsts == sorted(firsts)
        and firsts[0] == min(unit[0] for unit in units)
        and len(firsts) == len(sprites)
        and all(_is_index(number) and number for sprite in shown for number in sprite[1:])
        and all(len(sprite) == 5 and _IMAGE.fullmatch(sprite[0]) for sprite in shown)
    )


def _is_index(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 10**6


def read_units(folder: str | Path, model: Model, layer: str) -> list[AtlasUnit]:
    """Return the units of a layer with their images, such as for a sheet to choose from.

    Args:
        folder: folder of the atlas.
        model: the network of the atlas, with the same weights.
        layer: dotted name or alias.

    Raises:
        FileError: the folder contains no atlas, or a file of it is missing or damaged.
        InputError: the atlas is that of another network or of other weights, or lacks the layer.
        NameNotFound: the network has no such layer.
    """
    atlas = read_summary(folder)
    if atlas["network"] != model.card.name or atlas.get("weights") != network_key(model):
        raise InputError(
            f"{folder} has the atlas of {atlas['network']} with other weights, or of another "
            f"network; make one of this {model.card.name} with `cnnvis atlas`"
        )
    names, wanted = [one["name"] for one in atlas["layers"]], hooks.resolve(model, layer)
    for stored in atlas["layers"]:
        if hooks.resolve(model, stored["name"]) == wanted:
            return _units(Path(folder), stored)
    raise InputError(f"{folder}: no layer {layer} in this atlas; it has {', '.join(names)}")


def _units(folder: Path, layer: Mapping[str, Any]) -> list[AtlasUnit]:
    """Return the units of a stored layer."""
    tiles = _tiles(folder, layer)
    return [
        AtlasUnit(unit, tiles.get(unit), concept, iou, bool(detector))
        for unit, _, _, _, concept, _, iou, detector, *_ in layer["units"]
    ]


def _tiles(folder: Path, layer: Mapping[str, Any]) -> dict[int, Float[Tensor, "3 h w"]]:
    """Return unit -> its image, at most `MAX_SIZE` pixels high and wide."""
    tiles, units = {}, [row[0] for row in layer["units"]]
    ends = [*layer["first"][1:], units[-1] + 1]
    for sprite, first, end in zip(layer["sprites"], layer["first"], ends, strict=True):
        if sprite is None:
            continue
        file, width, height, columns, rows = sprite
        sheet = images.load(folder / file)
        if sheet.shape[1:] != (rows * height, columns * width) or end - first > rows * columns:
            raise FileError(f"{folder / file} is not of this atlas; make the atlas again")
        factor = min(1.0, MAX_SIZE / max(width, height))
        for place in range(end - first):
            y, x = place // columns * height, place % columns * width
            tile = sheet[:, y : y + height, x : x + width]
            size = (round(height * factor), round(width * factor))
            tiles[first + place] = images.resize(tile, size).clone()
    return tiles
