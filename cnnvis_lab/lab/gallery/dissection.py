"""A dissected network as an offline web page with tables, images and arrays."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import Bool, files
from ...data import Label, LabelledSet, images
from ...methods import dissection
from ...methods.dissection import LayerTable
from ...models import Model
from .. import figures
from .html import file_stem, page

BATCH = 32  # images whose masks are computed together
IMAGE_SIZE = 112  # of an image on the page, in pixels


def write_dissection(
    out: str | Path,
    model: Model,
    data: LabelledSet,
    tables: Mapping[str, LayerTable],
    convention: str = "original",
) -> Path:
    """Write the results of a dissection.

    `index.html` shows the units with their top-activating images, in decreasing order of IoU;
    `LAYER.csv` is the table, with the original program's columns; `LAYER.safetensors` holds all
    counts; `units/` holds the images.

    Args:
        out: the folder; other files in it are kept.
        model: the dissected network.
        data: the images it was dissected on.
        tables: of its layers, with top-activating images (`dissect(top=)`).
        convention: that of the dissection.

    Returns:
        The page.
    """
    out = Path(out)
    files.remove_partial(out, out / "units")  # of a command that was killed here
    for layer, table in tables.items():
        table.write_csv(out / f"{file_stem(layer)}.csv")
        _save_arrays(out / f"{file_stem(layer)}.safetensors", table)
        _save_unit_images(out / "units", model, data, table, convention)
    chart = figures.dissection.by_layer(tables, model.card.name)
    files.write_atomically(out / "concepts.png", figures.to_png(chart.figure))
    files.write_atomically(out / "index.html", _page(model, data, tables, convention))
    return out / "index.html"


def _save_arrays(path: Path, table: LayerTable) -> None:
    fields = {name: value for name, value in vars(table).items() if torch.is_tensor(value)}
    arrays = {name: value.contiguous() for name, value in {**fields, "iou": table.iou}.items()}
    concepts = [[c.number, c.name, c.category] for c in table.concepts]
    about = {"layer": table.layer, "concepts": concepts, "min_images": table.min_images}
    files.write_tensors(path, arrays, {"table": json.dumps(about)})


def _save_unit_images(
    folder: Path, model: Model, data: LabelledSet, table: LayerTable, convention: str
) -> None:
    """Draw each unit's top-activating images with its masks, reading every image once."""
    sheets = torch.zeros(*table.top_images.shape, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    needed = table.top_images.unique()
    needed = needed[needed >= 0]
    size = tuple(data.label_maps([0]).shape[-2:])
    for indices in needed.split(BATCH) if len(needed) else ():
        batch = data.batch(indices.tolist())
        units = torch.isin(table.top_images, indices).any(1).nonzero()[:, 0].tolist()
        masks = dissection.unit_masks(
            model, batch, table.layer, table.thresholds, units, size=size, convention=convention
        )
        for index, image, image_masks in zip(indices, batch, masks, strict=True):
            by_unit = dict(zip(units, image_masks, strict=True))
            _draw_image(sheets, table.top_images == index, image, by_unit)
    folder.mkdir(parents=True, exist_ok=True)
    for unit, row in enumerate(sheets):
        sheet = images.tile(row.float() / 255, max(len(row), 1), 2)
        with files.replace_atomically(folder / _image_name(table.layer, unit)) as partial:
            images.to_pil(sheet).save(partial, quality=85)


def _draw_image(
    sheets: Tensor, where: Bool[Tensor, "units k"], image: Tensor, masks: Mapping[int, Tensor]
) -> None:
    """Draw one image, with each unit's mask outlined, wherever it is among the top-activating."""
    for unit, rank in where.nonzero().tolist():
        masked = figures.concepts.masked_image(image, masks[unit])
        small = images.resize(torch.from_numpy(masked.astype(np.float32)), IMAGE_SIZE).clamp(0, 1)
        sheets[unit, rank] = (small * 255).round().to(torch.uint8)


def _image_name(layer: str, unit: int) -> str:
    return f"{file_stem(layer)}-{unit:04d}.jpg"


class _Unit(NamedTuple):
    """A unit on the page.

    Attributes:
        iou: with its best concept.
        layer: the layer.
        number: index of the unit.
        concept: its best concept.
        is_detector: 1 if the IoU makes it a detector, else 0.
        others: the best concepts of other categories that it detects, with their IoU.
        image: name of the image file.
    """

    iou: float
    layer: str
    number: int
    concept: Label
    is_detector: int
    others: list[str]
    image: str


def _units(table: LayerTable) -> list[_Unit]:
    """Return the units of a layer, in their order."""
    iou, column = table.best()
    by_category = {category: table.best(category) for category in table.categories}
    units = []
    for unit in range(len(table)):
        concept = table.concepts[int(column[unit])]
        others = [
            f"{table.concepts[int(columns[unit])].name} {float(values[unit]):.3f}"
            for category, (values, columns) in by_category.items()
            if category != concept.category and table.detected(values[unit])
        ]
        is_detector, image = int(table.detected(iou[unit])), _image_name(table.layer, unit)
        unit_iou = float(iou[unit])
        units.append(_Unit(unit_iou, table.layer, unit, concept, is_detector, others, image))
    return units


def _page(
    model: Model, data: LabelledSet, tables: Mapping[str, LayerTable], convention: str
) -> str:
    units = [unit for table in tables.values() for unit in _units(table)]
    return page(
        "dissection.html",
        model=model.card.name,
        images=len(data),
        convention=convention,
        table=next(iter(tables.values())),
        tables=tables,
        file_stem=file_stem,
        detected=sorted({unit.concept.name for unit in units if unit.is_detector}),
        units=sorted(units, key=lambda unit: (-unit.iou, unit.layer, unit.number)),
    )
