"""One chunk of an atlas: some units of a layer as sprites, and a record of all that is known."""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ....core import Bool, Float
from ....data import images
from ....methods import unit_profile
from ....methods.unit_profile import LayerScan, Unavailable, UnitBatch
from .plan import Chunk, Plan, record_text

OPTIMIZED_SIZE, PROJECTION_SIZE, OUTLINE_SIZE, MIN_SIZE = (
    128,
    64,
    96,
    56,
)  # of tiles in sprites, in pixels
IMAGE_SIZE = 256  # of an image of the dataset, in pixels, at most
OPTIMIZED_QUALITY, PROJECTION_QUALITY, IMAGE_QUALITY = 74, 45, 62  # of WebP
EFFECT_COUNT = 4
INSIDE, OUTSIDE = (255, 230, 60, 255), (0, 0, 0, 170)  # colors of an outline, RGBA


class Sprite(NamedTuple):
    """Images of one size in one file, row by row.

    Attributes:
        file: name of the file.
        width: of a tile.
        height: of a tile.
        columns: number of tiles in a row.
        rows: number of rows.
    """

    file: str
    width: int
    height: int
    columns: int
    rows: int


def draw(plan: Plan, chunk: Chunk, scan: LayerScan) -> dict[str, bytes]:
    """Draw the units of a chunk.

    Args:
        plan: the atlas.
        chunk: the units.
        scan: scan of their layer.

    Returns:
        File -> its content: sprites, images of the dataset that are not in the folder yet, and last
        the record that lists them.
    """
    subject = plan.subject
    batch = unit_profile.profile_units(
        subject.model, scan, chunk.units, subject.data, steps=subject.steps, rule=subject.rule
    )
    drawn = _sprites(plan, chunk, batch)
    sprites = {kind: sprite for kind, (sprite, _) in drawn.items()}
    contents = {sprite.file: content for sprite, content in drawn.values()}
    shared = batch.images.unique().tolist()
    record = {
        "layer": chunk.layer,
        "sprites": sprites,
        "notes": _notes(scan, batch),
        "units": [_unit(plan, scan, batch, row) for row in range(chunk.count)],
        "images": shared,
        "files": {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()},
    }
    return {**contents, **_images(plan, shared), chunk.record: record_text(record).encode()}


def _notes(scan: LayerScan, batch: UnitBatch) -> list[str]:
    """Return why parts are missing."""
    parts = (scan.concepts, batch.maximized, batch.projections, batch.class_effects)
    return list(dict.fromkeys(part.reason for part in parts if isinstance(part, Unavailable)))


def _unit(plan: Plan, scan: LayerScan, batch: UnitBatch, row: int) -> dict[str, Any]:
    """Return what is known of a unit."""
    unit, model = batch.units[row], plan.subject.model
    shown = zip(
        batch.images[row].tolist(),
        batch.activations[row].tolist(),
        batch.boxes[row].tolist(),
        strict=True,
    )
    return {
        "unit": unit,
        "class": model.unit_class(scan.layer, unit),
        "active": round(scan.active_fraction[unit], 4),
        "max": _short(float(batch.activations[row].max())),
        "reached": None
        if isinstance(batch.maximized, Unavailable)
        else _short(batch.maximized[row].activation),
        "top": [[index, _short(value), *box] for index, value, box in shown],
        "concepts": []
        if isinstance(scan.concepts, Unavailable)
        else [[*fit[:2], round(fit.iou, 4)] for fit in scan.concepts[unit]],
        "detector": scan.detectors[unit],
        "effects": _effects(plan, batch, row),
        "near": scan.neighbors[unit],
    }


def _effects(plan: Plan, batch: UnitBatch, row: int) -> list[tuple[str, float]]:
    """Return the classes whose scores change most without a unit, and the changes."""
    if isinstance(batch.class_effects, Unavailable):
        return []
    changes = batch.class_effects[row]
    order = changes.abs().argsort(descending=True, stable=True)[:EFFECT_COUNT].tolist()
    names = plan.subject.model.card.classes
    return [
        (names[index] if index < len(names) else f"class {index}", _short(float(changes[index])))
        for index in order
        if changes[index] != 0
    ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _sprites(plan: Plan, chunk: Chunk, batch: UnitBatch) -> dict[str, tuple[Sprite, bytes]]:
    """Return kind -> sprite and content."""
    from ... import figures  # slow to import

    sprites, stem, model = {}, chunk.stem, plan.subject.model
    if not isinstance(batch.maximized, Unavailable):
        tiles = torch.stack([one.image for one in batch.maximized]).clamp(0, 1)
        tiles, name = _tiles(tiles, OPTIMIZED_SIZE), f"{stem}-optimized.webp"
        sprites["optimized"] = _sprite(name, tiles, 8, OPTIMIZED_QUALITY)
    if not isinstance(batch.projections, Unavailable):
        shown = figures.normalize_projections(batch.projections.flatten(0, 1))
        tiles, name = _tiles(torch.as_tensor(shown), PROJECTION_SIZE), f"{stem}-projections.webp"
        sprites["projections"] = _sprite(name, tiles, batch.images.shape[1], PROJECTION_QUALITY)
    if not isinstance(batch.masks, Unavailable):
        tiles, name = _outlines(batch.masks.flatten(0, 1)), f"{stem}-outlines.webp"
        sprites["outlines"] = _sprite(name, tiles, batch.images.shape[1], None)
    kernels = [unit_profile.first_layer_kernel(model, chunk.layer, one) for one in chunk.units]
    found = [kernel for kernel in kernels if kernel is not None]
    if found:
        tiles = _tiles(torch.as_tensor(figures.normalize_kernels(torch.stack(found))), MIN_SIZE)
        sprites["kernels"] = _sprite(f"{stem}-kernels.webp", tiles, 8, OPTIMIZED_QUALITY)
    return sprites


def _tiles(shown: Float[Tensor, "n c h w"], limit: int) -> Float[Tensor, "n 3 y x"]:
    """Return images as RGB tiles: large ones reduced, the pixels of small ones repeated."""
    shown = shown[:, :3] if shown.shape[1] >= 3 else shown[:, :1].expand(-1, 3, -1, -1)
    height, width = shown.shape[-2:]
    largest = max(height, width)
    if largest > limit:
        size = (max(height * limit // largest, 1), max(width * limit // largest, 1))
        return images.resize(shown, size)
    repeats = max(1, -(-MIN_SIZE // largest))
    return shown.repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)


def _outlines(masks: Bool[Tensor, "n r s"]) -> Float[Tensor, "n 4 y x"]:
    """Return the borders of masks as RGBA tiles: a bright line inside, a dark one outside."""
    height, width = masks.shape[-2:]
    factor = OUTLINE_SIZE / max(height, width)
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    whole = (images.resize(masks[:, None].float(), size) > 0.5).float()
    grown, shrunk = _widened(whole), 1 - _widened(1 - whole)
    inside, outside = (torch.tensor(color)[:, None, None] / 255 for color in (INSIDE, OUTSIDE))
    return (whole - shrunk) * inside + (grown - whole) * outside


def _widened(masks: Float[Tensor, "n 1 y x"]) -> Float[Tensor, "n 1 y x"]:
    return functional.max_pool2d(masks, 3, stride=1, padding=1)


def _sprite(
    name: str, tiles: Float[Tensor, "n c y x"], columns: int, quality: int | None
) -> tuple[Sprite, bytes]:
    columns, (channels, height, width) = min(columns, len(tiles)), tiles.shape[1:]
    rows = -(-len(tiles) // columns)
    grid = tiles.new_zeros(rows * columns, channels, height, width)
    grid[: len(tiles)] = tiles
    grid = grid.unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)
    sheet = grid.reshape(channels, rows * height, columns * width)
    return Sprite(name, width, height, columns, rows), _webp(images.to_uint8(sheet), quality)


def _images(plan: Plan, indices: Sequence[int]) -> dict[str, bytes]:
    """Return images of the dataset, except those that are in the folder."""
    contents = {}
    for index in indices:
        name = plan.image_file(index)
        if not (plan.out / name).is_file():
            (image,) = plan.subject.data.batch([index])
            height, width = image.shape[-2:]
            factor = min(1.0, IMAGE_SIZE / max(height, width))
            small = images.resize(image, (round(height * factor), round(width * factor)))
            contents[name] = _webp(images.to_uint8(small), IMAGE_QUALITY)
    return contents


def _webp(pixels: np.ndarray, quality: int | None) -> bytes:
    """Return an image file; without a quality it is exact."""
    from PIL import Image  # slow to import

    buffer = BytesIO()
    lossless = {"lossless": True, "quality": 60} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(buffer, "WEBP", method=4, **lossless)
    return buffer.getvalue()
