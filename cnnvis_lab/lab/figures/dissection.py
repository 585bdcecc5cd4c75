"""Figures of Network Dissection: survey figures F11 to F14, and comparisons of networks."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from ...methods.dissection import (
    IOU_THRESHOLDS,
    LayerTable,
    NetworkComparison,
    RotationSweep,
    UnitExamples,
    Walkthrough,
    count_concepts,
)
from .charts import CHARACTER, Chart, chart_grid, line_chart, stacked_bars, use_integer_ticks
from .concepts import OVERLAP_COLORS, masked_image, overlap_image
from .page import Page, frame_axes
from .style import INK, MUTED, Array, Drawing, figure_style

CELL, ARROW = 1.5, 0.72  # images and arrows of the pipeline, in inches
TILE, GAP, UNIT_GAP = 0.92, 0.05, 0.2  # images of examples, in inches
LINE = 0.15  # height of a line of a row's label
WIDTH = 7.4  # of the comparison of networks
COUNT = "unique detectors"
DETECTED = "concepts that at least one unit detects with an IoU of 0.04 or more"


@figure_style()
def pipeline(steps: Walkthrough) -> Drawing:
    """Draw survey figure F12: how a unit is dissected on one image."""
    page = Page(4 * CELL + 3 * ARROW + 0.24, 2 * CELL + 1.2)
    lefts = [0.12 + column * (CELL + ARROW) for column in range(4)]
    upper, lower = page.height - 0.42 - CELL, 0.26
    limit = "" if steps.detected else " (which it fits too badly to detect it)"
    title = f"{steps.target} and its best concept, {steps.concept}{limit}, on one image"
    page.text(lefts[0], page.height - 0.1, title, va="top", size=9.5)
    colors: dict[str, Any] = {"cmap": "viridis", "limits": None}
    _draw_cell(page, lefts[0], upper, steps.image, "image")
    _draw_cell(page, lefts[1], upper, steps.activation, f"activation of {steps.target}", **colors)
    _draw_cell(page, lefts[2], upper, steps.upsampled, "at label resolution", **colors)
    _draw_cell(page, lefts[3], upper, steps.mask, f"mask: activation > {steps.threshold:.2f}")
    _draw_cell(page, lefts[2], lower, steps.concept_mask, f"labels: {steps.concept}")
    overlap = overlap_image(steps.mask, steps.concept_mask)
    _draw_cell(page, lefts[3], lower, overlap, f"IoU {steps.iou:.2f} on this image")
    rows = {"network": (0, upper), "upsample": (1, upper), "threshold": (2, upper)}
    for step, (column, bottom) in {**rows, "compare": (2, lower)}.items():
        x, y = lefts[column] + CELL, bottom + CELL / 2
        page.arrow([(x + 0.06, y), (x + ARROW - 0.06, y)])
        page.text(x + ARROW / 2, y + 0.07, step, ha="center", size=8)
    center = lefts[3] + CELL / 2
    page.arrow([(center, upper - 0.26), (center, lower + CELL + 0.06)])
    _draw_key(page, lefts[0], lower + CELL - 0.3, steps.dataset_iou)
    return Drawing(
        page.figure,
        "How a unit is compared with a concept, on an image that activates it strongly.",
        "An image, a coarse map of one unit, the upsampled map, its mask, and the overlap of the "
        "mask with the labels of a concept.",
        {"map": steps.activation, "mask": steps.mask, "concept": steps.concept_mask},
    )


def _draw_cell(page: Page, x: float, y: float, image: Array, name: str, **scale: Any) -> None:
    """Draw a framed image, and its name under it."""
    frame_axes(page.image(x, y, CELL, image, **scale))
    page.text(x + CELL / 2, y - 0.06, name, ha="center", va="top", size=8, color=INK)


def _draw_key(page: Page, x: float, y: float, iou: float) -> None:
    """Name the colors of the overlap, and write what IoU is."""
    for row, (name, color) in enumerate(OVERLAP_COLORS.items()):
        square = page.axes(x, y - 0.22 * row, 0.13, 0.13)
        square.set_facecolor(color)
        frame_axes(square)
        page.text(x + 0.22, y - 0.22 * row, name, size=8.5)
    page.text(x, y - 0.86, "IoU = both / (both + unit only + concept only)", size=8.5)
    page.text(x, y - 1.08, f"over all images of the dataset: {iou:.2f}", size=8.5)


def examples_by_category(examples: Mapping[str, Sequence[UnitExamples]]) -> Drawing:
    """Draw survey figure F11: category -> units of any layer that fit one of its concepts best."""
    return Drawing(
        _draw_examples(examples),
        "By category, the detectors of all layers with the highest IoU for one of its concepts, on "
        "top-activating images. Outlined: where the unit's activation exceeds its threshold.",
        "Rows of images by category, each with the outlined region where a unit is active.",
    )


def examples_by_layer(
    examples: Mapping[str, Sequence[UnitExamples]], tables: Mapping[str, LayerTable]
) -> Drawing:
    """Draw survey figure F13: layer -> its units that fit different concepts best.

    Args:
        examples: layer -> units.
        tables: layer -> its table.
    """
    rows = {
        f"{layer.removesuffix('.relu')}\n{len(table.detectors())} of {len(table)} units\n"
        "are detectors": examples[layer]
        for layer, table in tables.items()
    }
    return Drawing(
        _draw_examples(rows),
        "For each layer, its detectors with the highest IoU for different concepts, on "
        "top-activating images. Outlined: where the unit's activation exceeds its threshold.",
        "Rows of images by layer, each with the outlined region where a unit is active.",
    )


@figure_style()
def _draw_examples(rows: Mapping[str, Sequence[UnitExamples]]) -> Figure:
    """Draw a row of units for each label, with unit, concept and IoU under its images."""
    left = 0.2 + 0.07 * max(len(line) for label in rows for line in label.splitlines())
    widths = [[len(unit) * (TILE + GAP) + UNIT_GAP for unit in units] for units in rows.values()]
    pitch = TILE + 0.3
    heights = [
        pitch if units else LINE * len(label.splitlines()) + 0.25 for label, units in rows.items()
    ]
    page = Page(max(4.0, left + max(map(sum, widths)) - UNIT_GAP + 0.05), sum(heights) + 0.08)
    top = page.height - 0.06
    for (label, units), height in zip(rows.items(), heights, strict=True):
        x, y = left, top - TILE
        middle = y + TILE / 2 if units else top - height / 2
        page.text(left - 0.1, middle, label, ha="right", va="center", size=8.5)
        if not units:
            page.text(left, middle, "no unit detects any of these concepts", va="center", size=8)
        for unit in units:
            for column, one in enumerate(unit):
                tile = masked_image(one.image, one.mask)
                page.image(x + column * (TILE + GAP), y, TILE, tile)
            width = len(unit) * (TILE + GAP)
            text = f"{unit[0].layer}:{unit[0].unit}  {unit[0].concept}, IoU {unit[0].iou:.2f}"
            page.text(x + (width - GAP) / 2, y - 0.04, text, ha="center", va="top", size=7.5)
            x += width + UNIT_GAP
        top -= height
    return page.figure


def by_layer(tables: Mapping[str, LayerTable], network: str) -> Drawing:
    """Draw survey figure F14, left: unique detectors by layer and category.

    Args:
        tables: layer -> its table.
        network: its name.
    """
    counts, first = count_concepts(tables), next(iter(tables.values()))
    figure = stacked_bars(
        counts.names,
        counts.by_category,
        title=f"{network}: unique detectors by layer",
        xlabel="layer",
        ylabel=COUNT,
        size=(6.4, 3.1),
    )
    return Drawing(
        figure,
        f"Unique detectors by layer and category: {DETECTED}, of the {first.used_concepts} "
        f"concepts that occur in at least {first.min_images} images.",
        "Stacked bars, one per layer.",
        counts.by_category,
    )


def by_network(compared: NetworkComparison) -> Drawing:
    """Draw survey figure F14, right: unique detectors of differently trained networks."""
    names = [compared.short_name(name) for name in compared.tables]
    room = max(8, int((WIDTH - 0.8) / len(names) / CHARACTER))  # characters under one bar
    parts = [name.replace("_", "_ ") for name in names]  # lines may end after an underscore
    lines = [textwrap.fill(name, room, break_long_words=False) for name in parts]
    names = [name.replace("_ ", "_") for name in lines]
    accuracies = [compared.accuracies.get(name) for name in compared.tables]
    figure = stacked_bars(
        [
            f"{accuracy:.1%}\n{name}" if accuracy else f"\n{name}"
            for name, accuracy in zip(names, accuracies, strict=True)
        ],
        compared.counts.by_category,
        title="Unique detectors of the last convolution, by network",
        xlabel="accuracy on held-out images, and network" if any(accuracies) else "network",
        ylabel=COUNT,
        size=(WIDTH, 3.6),
    )
    return Drawing(
        figure,
        f"Unique detectors in the last convolution of several networks: {DETECTED}. Networks named "
        "by a seed differ in their random initialization only.",
        "Stacked bars, one per network.",
        compared.counts.by_category,
    )


def by_training_step(tables: Mapping[str, LayerTable] | Mapping[int, LayerTable]) -> Drawing:
    """Draw unique detectors during a training: step -> table, or other stages by name."""
    counts = count_concepts(tables)
    layer = next(iter(tables.values())).layer.removesuffix(".relu")
    steps = [stage for stage in tables if isinstance(stage, int)]
    when = "during a short training" if steps else "before and after training"
    figure = stacked_bars(
        counts.names,
        counts.by_category,
        title=f"{layer}: unique detectors {when}",
        xlabel="training step" if steps else "weights",
        ylabel=COUNT,
        size=(6.4, 3.1),
    )
    return Drawing(
        figure,
        f"Unique detectors in {layer} {when}"
        + ("; step 0 is the untrained network." if steps else "."),
        f"Stacked bars, one per {'training step' if steps else 'state of the weights'}.",
        {"steps": torch.tensor(steps), **counts.by_category},
    )


@figure_style()
def by_rotation(sweep: RotationSweep) -> Drawing:
    """Draw the number of unique detectors over the fraction of a rotation of the basis."""
    counts = sweep.unique_detectors()
    chart = Chart(
        {name: (sweep.fractions, values) for name, values in counts.items()},
        title=f"{sweep.layer.removesuffix('.relu')} in a rotated basis",
        xlabel="rotation fraction",
        ylabel=COUNT,
    )
    figure = chart_grid([[chart]], size=(5.6, 3.0))
    figure.axes[0].set_ylim(0)
    use_integer_ticks(figure.axes[0])
    return Drawing(
        figure,
        "Unique detectors as the basis is rotated; the network's output does not change.",
        "Curves by category, and of all categories.",
        counts,
    )


@figure_style()
def by_iou_threshold(compared: NetworkComparison) -> Drawing:
    """Draw the number of unique detectors over the IoU threshold, for each network."""
    sweep = compared.threshold_sweep()
    names = [name.replace("starts", "initializations") for name in sweep]
    figure = line_chart(
        {
            name: (IOU_THRESHOLDS, counts)
            for name, counts in zip(names, sweep.values(), strict=True)
        },
        title="Unique detectors of the last convolution, by network",
        xlabel="IoU threshold (dashed: 0.04, as in the other figures)",
        ylabel=COUNT,
    )
    figure.axes[0].axvline(0.04, color=MUTED, lw=1, ls="--")
    use_integer_ticks(figure.axes[0])
    return Drawing(
        figure,
        "Unique detectors over the IoU threshold of a detector.",
        "Decreasing curves, one per network, and the mean over random initializations.",
        sweep,
    )
