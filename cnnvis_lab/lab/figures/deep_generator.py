"""Figures of deep generators: survey figure F3, and comparisons of codes, priors and bounds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ...core import Missing, passes_missing
from ...core.statistics import TopK
from ...data import ImageSet
from ...methods.activation_maximization import Rendering
from ...methods.deep_generator import GeneratedQuality, QualityTable, SampleSets
from .charts import Chart, chart_grid
from .images import image_grid
from .style import INK, MUTED, Drawing, figure_style

ROW_LABELS = {"no prior": "pixels,\nno prior", "pixels": "pixels,\ndefault prior"}
EXAMPLES = ("bicycle", "car", "chair", "face", "phone")  # classes of figure F3
QUANTITIES = ("activation", "naturalness", "distance to real", "recognized")


def _row_label(way: str) -> str:
    """Return the label of a way to make images: a generator is named after its codes."""
    if way.startswith("generator_"):
        layer, _, losses = way.removeprefix("generator_").partition("_")
        return f"codes of {layer}" + (f",\n{losses.replace('_', ' ')} only" if losses else "")
    return ROW_LABELS.get(way, way)


def _examples(classes: Sequence[str]) -> list[int]:
    """Return the positions of the classes to draw: of `EXAMPLES`, or else of the first five."""
    found = [classes.index(name) for name in EXAMPLES if name in classes]
    return found or list(range(len(classes)))[: len(EXAMPLES)]


def class_images(
    in_pixels: Rendering,
    generated: Rendering | Missing,
    top: TopK,
    images: ImageSet,
    classes: Sequence[str],
) -> Drawing:
    """Draw class images beside the top-activating images of a dataset (F3).

    Args:
        in_pixels: an image of each class by activation maximization in pixels.
        generated: an image of each class through a generator, or why there are none.
        top: the top-activating images of the class layer.
        images: the dataset.
        classes: names of the classes; `EXAMPLES` are drawn, or else the first five.
    """
    shown = _examples(classes)
    units = [int(in_pixels.targets[n].partition(":")[2]) for n in shown]
    is_missing = isinstance(generated, Missing)
    rows = [in_pixels.images[shown], generated if is_missing else generated.images[shown]]
    rows += [images.batch(best.tolist()) for best in top.images[units].T[:2]]
    labels = ["AM in pixels", "DGN-AM", "top-activating\nreal image", "second\nreal image"]
    figure = image_grid(
        rows,
        row_labels=labels[: len(rows)],
        column_labels=[classes[n] for n in shown],
        cell=1.35,
    )
    return Drawing(
        figure,
        "Images that maximize a class by activation maximization (AM) in pixels and through a "
        "generator (DGN-AM), and the real images with the highest activation of the class.",
        "Above, outlines repeated on gray; below them, objects in scenes; then real images of the "
        "classes.",
        {"am": in_pixels.images} | ({} if is_missing else {"dgn": generated.images}),
    )


@passes_missing
def reconstructions(real: Tensor, decoded: Mapping[str, Tensor]) -> Drawing:
    """Draw real images and what generators reconstruct from their codes.

    Args:
        real: images of a dataset.
        decoded: generator -> its reconstructions of the first of these images.
    """
    count = min(len(images) for images in decoded.values())
    figure = image_grid(
        [real[:count], *decoded.values()],
        row_labels=["real image", *map(_row_label, decoded)],
        cell=1.0,
    )
    return Drawing(
        figure,
        "Real images, and each generator's reconstructions from their codes.",
        "Background, layout and parts of each object are preserved, least from codes of FL3; the "
        "generator trained with the image loss only gives a soft blur.",
        decoded,
    )


@passes_missing
def priors(table: QualityTable) -> Drawing:
    """Draw the same classes under different priors, with the quality of each row."""
    return Drawing(
        _quality_grid(table),
        "The same classes under different priors, and means over each row: activation; naturalness "
        "of the gradients (at most 1); distance to the nearest real image, 1 between real images; "
        "fraction of images that an independent classifier recognizes.",
        "From noise without a prior, through outlines on gray, to generated scenes; a table of "
        "four numbers beside each row.",
        _quality_arrays(table),
    )


@passes_missing
def networks(table: QualityTable) -> Drawing:
    """Draw the same classes of different networks through one generator, with their quality."""
    return Drawing(
        _quality_grid(table),
        "Classes of the network whose codes the generator reads, and of other networks; the "
        "numbers are means over each row.",
        "Rows of class images, one row per network, with four numbers beside each.",
        _quality_arrays(table),
    )


def _quality_arrays(table: QualityTable) -> dict[str, list[float]]:
    return {way: list(quality) for way, quality in table.quality.items()}


@figure_style()
def _quality_grid(table: QualityTable) -> Figure:
    """Draw a row of images for each way, and its numbers in columns to the right."""
    count = len(table.classes)
    figure = image_grid(
        [
            [*table.renderings[way].images[:count], *[None] * len(QUANTITIES)]
            for way in table.quality
        ],
        row_labels=[*map(_row_label, table.quality)],
        column_labels=[*table.classes, *QUANTITIES],
        cell=0.95,
    )
    for row, quality in enumerate(table.quality.values()):
        first, last = (figure.axes[row * count + n].get_position() for n in (0, count - 1))
        pitch = (last.x0 - first.x0) / (count - 1) if count > 1 else 1.06 * last.width
        for column, text in enumerate(_format_quality(quality), 1):
            x, y = last.x0 + last.width / 2 + column * pitch, (last.y0 + last.y1) / 2
            figure.text(x, y, text, ha="center", va="center", size=9, color=INK)
    return figure


def _format_quality(quality: GeneratedQuality) -> list[str]:
    texts = [
        f"{quality.activation:.0f}",
        f"{quality.naturalness:.2f}",
        f"{quality.distance:.2f}",
        f"{100 * quality.recognized:.0f} %",
    ]
    pairs = zip(quality, texts, strict=True)
    return ["–" if math.isnan(number) else text for number, text in pairs]


@passes_missing
def course(rendering: Rendering, classes: Sequence[str]) -> Drawing:
    """Draw class images at steps of the ascent, with the activation reached.

    Args:
        rendering: class images through a generator, with snapshots.
        classes: names of the classes; `EXAMPLES` are drawn, or else the first five.
    """
    shown = _examples(classes)
    steps = list(rendering.snapshots)
    figure = image_grid(
        [[rendering.snapshots[step][n].clamp(0, 1) for step in steps] for n in shown],
        row_labels=[classes[n] for n in shown],
        column_labels=[f"step {step}" for step in steps],
        notes=[[_activation(rendering.history[step, n]) for step in steps] for n in shown],
        cell=1.1,
    )
    return Drawing(
        figure,
        "Class images at steps of the ascent in code space, with the activation of the class.",
        "Each row starts with the same formless image and soon shows its class.",
        {str(step): images for step, images in rendering.snapshots.items()},
    )


@passes_missing
@figure_style()
def bounds(table: QualityTable, bounded: str) -> Drawing:
    """Draw the activation during the ascent with and without bounds, and the final distances.

    Args:
        table: has the ways `bounded`, "without bounds" and "pixels".
        bounded: the generator, with bounds.
    """
    ways = {"with bounds": bounded, "without bounds": "without bounds"}
    count = len(table.classes)
    histories = {name: table.renderings[way].history[:, :count] for name, way in ways.items()}
    curves = {name: (range(len(h)), h.mean(1)) for name, h in histories.items()}
    named = {"pixels": "pixels", **ways}
    distances = {name: [table.quality[way].distance] for name, way in named.items()}
    charts = [Chart(curves, (), "Activation during the ascent", "step", "mean class activation")]
    caption = (
        "Class activation during the ascent in code space with and without bounds, averaged over "
        "classes"
    )
    if is_measured := not math.isnan(table.quality[bounded].distance):
        title, ylabel = "Distance to the nearest real image", "relative distance"
        charts.append(Chart(distances, ("",), title, "", ylabel, line=1))
        caption += (
            ", and the distance of the final images to the nearest real image, relative to that "
            "between real images"
        )
    figure = chart_grid([charts], size=(3.4, 2.5))
    for bars in figure.axes[1:]:
        bars.set(xticks=[], xlim=(-0.5, 0.8))
        bars.text(0.44, 1.02, "real images", va="bottom", size=7.5, color=MUTED)
    alt = "A chart with two increasing curves, the higher one without bounds"
    alt += ", and three bars of distances." if is_measured else "."
    return Drawing(figure, f"{caption}.", alt, histories)


@passes_missing
def hidden_units(in_pixels: Mapping[str, Rendering], generated: Mapping[str, Rendering]) -> Drawing:
    """Draw hidden units: for each layer a row of images in pixels, and one through the generator.

    Args:
        in_pixels: layer -> images of its units by activation maximization in pixels.
        generated: layer -> images of the same units through a generator.
    """
    rows: list[Rendering] = []
    for layer, images in in_pixels.items():
        rows += [images, generated[layer]]
    labels = [f"{layer}\n{way}" for layer in in_pixels for way in ("AM in pixels", "DGN-AM")]
    names = [f"{layer} in {way}" for layer in in_pixels for way in ("pixels", "codes")]
    figure = image_grid(
        [row.images for row in rows],
        row_labels=labels,
        notes=[_unit_notes(row) for row in rows],
        cell=1.2,
    )
    return Drawing(
        figure,
        "Hidden units by activation maximization (AM) in pixels and through the generator "
        "(DGN-AM), with the activation reached.",
        "Pairs of rows: patterns in the middle of a gray canvas, and scenes with that pattern.",
        {name: row.images for name, row in zip(names, rows, strict=True)},
    )


def _activation(value: float | Tensor) -> str:
    return f"activation {float(value):.1f}".replace("-", "−")


def _unit_notes(rendering: Rendering) -> list[str]:
    pairs = zip(rendering.targets, rendering.activations.tolist(), strict=True)
    return [f"{target}\n{_activation(activation)}" for target, activation in pairs]


@passes_missing
def samples(sets: SampleSets) -> Drawing:
    """Draw images of one class from several starts: a row for each method."""
    labels = [
        f"{name}\nmutual distance {distance:.2f}" for name, distance in sets.distances.items()
    ]
    labels += [
        f"PPGN,\nprior weight {np.format_float_positional(weight, trim='-')}\n"
        f"class probability {100 * probability:.0f} %"
        for weight, probability in sets.probabilities.items()
    ]
    figure = image_grid([*sets.images.values(), *sets.pulled.values()], row_labels=labels, cell=1.0)
    return Drawing(
        figure,
        "One class from several starts. Mutual distance: mean distance between the images of a "
        "row, relative to that between two images of the dataset. Below, walks with an increasing "
        "weight of the prior on codes, with the probability of the class.",
        "Rows of images of one class; with the largest weight of the prior the object dissolves.",
        {"unlike": list(sets.distances.values()), "sure": list(sets.probabilities.values())},
    )
