"""A dissected network as a folder to look through: a page, tables, pictures and arrays; offline."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ...core import Bool, files
from ...data import LabelledSet, images
from ...methods import dissection
from ...methods.dissection import LayerTable, concepts_by_category
from ...models import Model
from .. import figures
from .html import document

BATCH = 32  # pictures whose masks are drawn together
IMAGE_SIZE = 112  # of a picture on the page, in pixels
OUTSIDE_BRIGHTNESS = 0.3  # how bright a picture is where the unit is not active
_STYLE = """
form { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: end; position: sticky;
  top: 0; padding: .8rem 0; background: var(--page); border-bottom: 1px solid var(--line); }
label { display: block; font-size: .85rem; color: var(--soft); }
input, select { font: inherit; padding: .25rem .4rem; color: var(--ink);
  background: var(--panel); border: 1px solid var(--soft); border-radius: 4px; }
.units { display: grid; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr));
  gap: 1.2rem 1.6rem; margin-top: 1.2rem; }
.units article[hidden] { display: none; } .units h3 { margin: 0; font-size: 1rem; }
.units p { margin: .15rem 0 .35rem; font-size: .85rem; color: var(--soft); }
"""
_SCRIPT = """
const units = [...document.querySelectorAll(".units article")];
const [word, layer, all] = ["word", "layer", "all"].map(id => document.getElementById(id));
function choose() {
  const wanted = word.value.trim().toLowerCase();
  let shown = 0;
  for (const unit of units) {
    const fits = (!wanted || unit.dataset.words.includes(wanted))
      && (!layer.value || unit.dataset.layer === layer.value)
      && (all.checked || unit.dataset.detector === "1");
    unit.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} of ${units.length} units`;
}
for (const part of [word, layer, all]) part.addEventListener("input", choose);
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
choose();
"""


def write_dissection(
    out: str | Path,
    model: Model,
    data: LabelledSet,
    tables: Mapping[str, LayerTable],
    convention: str = "original",
) -> Path:
    """Write what a dissection found.

    `index.html` shows the units by falling IoU on their strongest pictures; `LAYER.csv` is the
    table in the columns of the original's, `LAYER.safetensors` all counts, `units/` the pictures.

    Args:
        out: the folder; other files in it stay.
        model: the dissected network.
        data: the pictures.
        tables: of its layers, with their strongest pictures (`top`).
        convention: as it was dissected.

    Returns:
        The page.
    """
    out = Path(out)
    for layer, table in tables.items():
        table.write_csv(out / f"{layer}.csv")
        _save_arrays(out / f"{layer}.safetensors", table)
        _save_unit_images(out / "units", model, data, table, convention)
    chart = figures.stacked_bars(
        [layer.removesuffix(".relu") for layer in tables],
        concepts_by_category(list(tables.values())),
        title="Different concepts by layer",
        ylabel="concepts with a detector",
        size=(6.4, 3.0),  # as wide as the six categories of its legend
    )
    files.write_atomically(out / "concepts.png", figures.to_png(chart))
    files.write_atomically(out / "index.html", _page(model, data, tables, convention))
    return out / "index.html"


def _save_arrays(path: Path, table: LayerTable) -> None:
    names = (
        "thresholds",
        "iou",
        "intersection",
        "mask_pixels",
        "concept_pixels",
        "concept_images",
        "top_values",
    )
    arrays = {name: getattr(table, name).contiguous() for name in (*names, "top_images")}
    concepts = [[c.number, c.name, c.category] for c in table.concepts]
    with files.replace_atomically(path) as partial:
        save_file(arrays, partial, {"layer": table.layer, "concepts": json.dumps(concepts)})


def _save_unit_images(
    folder: Path, model: Model, data: LabelledSet, table: LayerTable, convention: str
) -> None:
    """Draw each unit's strongest pictures with its masks, going through every picture once."""
    drawn = torch.zeros(*table.top_images.shape, 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8)
    needed = table.top_images.unique()
    size = tuple(data.label_maps([0]).shape[-2:])
    for part in needed[needed >= 0].split(BATCH):
        pictures = data.batch(part.tolist())
        units = torch.isin(table.top_images, part).any(1).nonzero()[:, 0].tolist()
        masks = dissection.unit_masks(
            model, pictures, table.layer, table.thresholds, units, size=size, convention=convention
        )
        for place, number in enumerate(part.tolist()):
            _place_image(
                drawn,
                table.top_images == number,
                pictures[place],
                dict(zip(units, masks[place], strict=True)),
            )
    folder.mkdir(parents=True, exist_ok=True)
    for unit, row in enumerate(drawn):
        sheet = images.tile(row.float() / 255, max(len(row), 1), 2)
        with files.replace_atomically(folder / _image_name(table.layer, unit)) as partial:
            images.to_pil(sheet).save(partial, quality=85)


def _place_image(
    drawn: Tensor, where: Bool[Tensor, "units k"], picture: Tensor, masks: Mapping[int, Tensor]
) -> None:
    """Put one picture, dark beyond each unit's mask, wherever it is among the strongest."""
    for unit, rank in where.nonzero().tolist():
        shown = figures.concepts.masked_image(picture, masks[unit], OUTSIDE_BRIGHTNESS).astype(
            np.float32
        )
        small = images.resize(torch.from_numpy(shown), IMAGE_SIZE).clamp(0, 1)
        drawn[unit, rank] = (small * 255).round().to(torch.uint8)


def _image_name(layer: str, unit: int) -> str:
    return f"{layer}-{unit:04d}.jpg"


def _page(
    model: Model, data: LabelledSet, tables: Mapping[str, LayerTable], convention: str
) -> str:
    name, first = html.escape(model.card.name), next(iter(tables.values()))
    facts = (
        f"<p>{len(data):,} pictures, {len(first.concepts)} concepts, counted by the convention "
        f"<q>{html.escape(convention)}</q>. A unit detects the concept that its active region fits "
        f"best, from an IoU of {first.min_iou:g} on; concepts in fewer than "
        f"{first.min_images} pictures are left out. Units count from 0 here, and from 1 in the "
        "tables, as in the original's.</p>"
    )
    units = sorted(
        ((float(table.best()[0][unit]), layer, unit) for layer, table in tables.items()
         for unit in range(len(table))),
        key=lambda row: (-row[0], row[1:]),
    )  # fmt: skip
    articles = "\n".join(_unit_article(tables[layer], unit) for _, layer, unit in units)
    return document(
        f"{model.card.name} dissected",
        f"<header><h1>{name} dissected</h1>\n{facts}</header>\n<main>{_layer_summary(tables)}\n"
        '<p><img src="concepts.png" alt="Bars: different concepts with a detector, by layer.">'
        "</p>\n"
        f"<h2>Units</h2>\n{_search_form(tables)}\n"
        f'<div class="units">\n{articles}\n</div></main>\n<script>{_SCRIPT}</script>',
        _STYLE,
    )


def _layer_summary(tables: Mapping[str, LayerTable]) -> str:
    head = "<th>layer</th><th>units</th><th>detectors</th><th>different concepts</th><th>table</th>"
    rows = "".join(
        f"<tr><td>{html.escape(layer)}</td><td>{len(table)}</td><td>{len(table.detectors())}</td>"
        f"<td>{sum(table.unique_concepts().values())}</td>"
        f'<td><a href="{html.escape(layer)}.csv">{html.escape(layer)}.csv</a></td></tr>'
        for layer, table in tables.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _search_form(tables: Mapping[str, LayerTable]) -> str:
    found = {label.name for table in tables.values() for label in table.detectors().values()}
    words = "".join(f'<option value="{html.escape(name)}">' for name in sorted(found))
    layers = "".join(f"<option>{html.escape(layer)}</option>" for layer in tables)
    return (
        '<form role="search"><div><label for="word">concept or category</label>'
        f'<input id="word" type="search" list="words"><datalist id="words">{words}</datalist></div>'
        f'<div><label for="layer">layer</label><select id="layer"><option value="">all</option>'
        f"{layers}</select></div>"
        '<div><label for="all"><input id="all" type="checkbox"> show units that detect nothing'
        '</label></div><output id="shown" aria-live="polite"></output></form>'
    )


def _unit_article(table: LayerTable, unit: int) -> str:
    iou, column = table.best()
    concept, layer = table.concepts[int(column[unit])], html.escape(table.layer)
    detector = int(table.detected(iou[unit]))
    name, words = (
        html.escape(concept.name),
        html.escape(f"{concept.name} {concept.category}".lower()),
    )
    return (
        f'<article data-layer="{layer}" data-words="{words}" data-detector="{detector}">'
        f"<h3>{name}</h3>"
        f"<p>{concept.category}, IoU {float(iou[unit]):.3f}; {layer}, unit {unit}. "
        f"{_other_concepts(table, unit, concept.category)}</p>"
        f'<img src="units/{layer}-{unit:04d}.jpg" loading="lazy" '
        f'alt="Its strongest pictures, bright where it is active."></article>'
    )


def _other_concepts(table: LayerTable, unit: int, own: str) -> str:
    """The best concepts of the other categories, as far as they would make a detector."""
    found: Sequence[str] = [
        f"{html.escape(table.concepts[int(column[unit])].name)} {float(iou[unit]):.3f}"
        for category in table.categories
        if category != own
        for iou, column in [table.best(category)]
        if table.detected(iou[unit])
    ]
    return f"Also {', '.join(found)}." if found else ""
