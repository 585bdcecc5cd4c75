"""Two atlases side by side: the units that detect the same concept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ....core import files
from ..html import page
from .read import read_summary

UNITS, SIZE = 4, 72  # shown of each network for a concept; pixels of an image


class Detector(NamedTuple):
    """A unit that detects a concept.

    Attributes:
        name: "layer:unit".
        iou: with the concept.
        link: to its page.
        style: CSS of its image.
    """

    name: str
    iou: float
    link: str
    style: str


class Row(NamedTuple):
    """A concept, and the units of both networks that detect it, best first.

    Attributes:
        concept: name of the concept.
        category: category of the concept.
        detectors: of the first and of the second network.
        best: IoU of the best unit of each network; 0 if there is none.
    """

    concept: str
    category: str
    detectors: tuple[list[Detector], list[Detector]]
    best: tuple[float, float]


def write_comparison(first: str | Path, second: str | Path, file: str | Path) -> Path:
    """Write a page that matches the detectors of two networks by concept.

    The page shows the images of both atlases, to which it refers by relative paths.

    Args:
        first: folder of an atlas.
        second: folder of another one.
        file: the page.

    Returns:
        The page.

    Raises:
        FileError: a folder contains no atlas, or a damaged one.
    """
    file, folders = Path(file), (Path(first), Path(second))
    atlases = [read_summary(folder) for folder in folders]
    found = [
        _by_concept(atlas, quote(Path(os.path.relpath(folder, file.parent)).as_posix()))
        for atlas, folder in zip(atlases, folders, strict=True)
    ]
    rows = []
    for concept, category in sorted(set(found[0]) | set(found[1])):
        units = [one.get((concept, category), []) for one in found]
        best = tuple(max((unit.iou for unit in own), default=0.0) for own in units)
        rows.append(Row(concept, category, (units[0], units[1]), (best[0], best[1])))
    rows.sort(key=lambda row: (-min(row.best), -max(row.best), row.concept))
    files.write_atomically(file, page("atlas_compare.html", atlases=atlases, rows=rows, size=SIZE))
    return file


def _by_concept(atlas: Mapping[str, Any], address: str) -> dict[tuple[str, str], list[Detector]]:
    """Return (concept, category) -> the units that detect it, best first."""
    found: dict[tuple[str, str], list[Detector]] = {}
    for layer in atlas["layers"]:
        for unit, _, _, _, concept, category, iou, detector, *_ in layer["units"]:
            if detector:
                name = f"{layer['name']}:{unit}"
                link = f"{address}/index.html#{quote(name, safe=':')}"
                style = _style(layer, unit, address)
                found.setdefault((concept, category), []).append(Detector(name, iou, link, style))
    return {
        key: sorted(units, key=lambda one: (-one.iou, one.name))[:UNITS]
        for key, units in found.items()
    }


def _style(layer: Mapping[str, Any], unit: int, address: str) -> str:
    """Return the CSS that shows a unit's tile of a sprite as a background."""
    part = max(index for index, first in enumerate(layer["first"]) if first <= unit)
    sprite = layer["sprites"][part]
    if sprite is None:
        return ""
    file, width, height, columns, rows = sprite
    place, scale = unit - layer["first"][part], SIZE / max(width, height)
    x, y = place % columns * width * scale, place // columns * height * scale
    return (
        f"width: {width * scale:.2f}px; height: {height * scale:.2f}px; "
        f"background: url('{address}/{quote(file)}') -{x:.2f}px -{y:.2f}px / "
        f"{columns * width * scale:.2f}px {rows * height * scale:.2f}px"
    )
