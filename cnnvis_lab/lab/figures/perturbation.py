"""Figures of perturbed features: F10, and the cost of perturbing, quantizing and pruning."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.figure import Figure

from ...methods.perturbation import (
    VARIANTS,
    Case,
    Outcomes,
    Reconstructions,
)
from .charts import Chart, chart_grid
from .page import Page
from .perturbation_pruning import pruning_curves, tuned_networks
from .style import INK, MUTED, Drawing, figure_style

__all__ = [
    "dropping_curves", "errors_and_accuracies", "pruning_curves", "quantization_curves",
    "reconstructions", "reconstructions_from_scores", "tuned_networks",
]  # fmt: skip

GAP, NOTE = 0.06, 0.2  # inches
YLABELS = {"error": "reconstruction error", "accuracy": "accuracy"}
ARRAYS = {"decoder": "decoder", "optimization": "descent"}  # what arrays call the methods


def reconstructions(found: Reconstructions, variant: str, missing: str = "") -> Drawing:
    """Draw F10: an image, and its reconstructions from each layer by each method.

    Args:
        found: reconstructions; the first image is drawn.
        variant: which activations are dropped, a key of `methods.perturbation.VARIANTS`.
        missing: a sentence for the case that there are no decoders.
    """
    layers, note = found.by_method["optimization"], f"Dropped: half of {variant}. "
    if missing and not found.by_method.get("decoder"):
        note = "\n".join([*wrap(missing, 16 * len(found.cases)), note])
    return Drawing(
        _draw_reconstructions(
            found,
            [(layer, 0) for layer in layers],
            0.74,
            note,
        ),
        f"F10: one image, reconstructed from the perturbed features of each layer (fractions of "
        f"{variant}). Below each reconstruction: its error, 1 for two unrelated images.",
        "Reconstructions in a row for each layer and a column for each perturbation; without the "
        "largest half of the activations, little of the image is left.",
        {
            f"{ARRAYS[method]} {layer}": by_case[:, 0]
            for method, by_layer in found.by_method.items()
            for layer, by_case in by_layer.items()
        },
    )


def reconstructions_from_scores(found: Reconstructions) -> Drawing:
    """Draw images, and their reconstructions from all or some of their class scores.

    Args:
        found: reconstructions from the layer of the class scores.
    """
    (layer,) = found.by_method["optimization"]
    return Drawing(
        _draw_reconstructions(found, [(layer, n) for n in range(len(found.images))], 1.1),
        "Images reconstructed from their class scores. Below each reconstruction: its error, 1 for "
        "two unrelated images.",
        "A row for each image: blurred reconstructions by the decoder, textured ones by "
        "optimization.",
        {
            ARRAYS[method]: found.errors(method)[layer].mean(1)
            for method, by_layer in found.by_method.items()
            if by_layer
        },
    )


@figure_style()
def _draw_reconstructions(
    found: Reconstructions, rows: Sequence[tuple[str, int]], cell: float, note: str = ""
) -> Figure:
    """Draw a row for each layer and index of an image, with the methods side by side.

    Rows begin with their image; or, if they differ in the layer, with its name.
    """
    methods = [method for method, by_layer in found.by_method.items() if by_layer]
    pitch, block = cell + GAP, len(found.cases) * (cell + GAP) + 2 * GAP
    several = len({layer for layer, _ in rows}) > 1
    labels = ["\n".join(wrap(name, int(12 * cell), break_long_words=False)) for name in found.cases]
    lines = max(label.count("\n") for label in labels)
    top = cell + 0.2 if several else 0.54 + 0.12 * lines
    left, height = 0.1 + pitch + GAP, top + len(rows) * (pitch + NOTE) + 0.25
    height += 0.15 * note.count("\n")
    page = Page(left + len(methods) * block, height)
    bottoms = [height - top - cell - row * (pitch + NOTE) for row in range(len(rows))]
    if several:
        page.image(0.1, height - cell - 0.04, cell, found.images[0])
    for (layer, n), y in zip(rows, bottoms, strict=True):
        if several:
            page.text(left - 0.1, y + cell / 2, layer, ha="right", va="center", size=9)
        else:
            page.image(0.1, y, cell, found.images[n])
    style = {"ha": "center", "color": INK}
    page.text(0.1 + cell / 2, height - top + 0.04, "original", va="bottom", size=7.5, **style)
    for number, method in enumerate(methods):
        errors, x = found.errors(method), left + number * block
        page.text(x, height - 0.08, f"By {method}", va="top", size=9.5, color=INK)
        page.line([(x, height - 0.28), (x + block - 3 * GAP, height - 0.28)], MUTED, lw=0.8)
        for case, label in enumerate(labels):
            middle = x + case * pitch + cell / 2
            page.text(middle, height - top + 0.04, label, va="bottom", size=7.5, **style)
            for (layer, n), y in zip(rows, bottoms, strict=True):
                if layer in errors:
                    image = found.by_method[method][layer][case, n]
                    page.image(middle - cell / 2, y, cell, image)
                    error = f"{float(errors[layer][case, n]):.2f}"
                    page.text(middle, y - 0.03, error, va="top", size=7, **style)
    below = {"size": 8, "color": INK} | ({"va": "bottom"} if "\n" in note else {})
    page.text(0.1, 0.1, f"{note}Numbers: reconstruction error.", **below)
    return page.figure


def errors_and_accuracies(
    outcomes: Outcomes, retrained: Outcomes, inverted: Reconstructions, variant: str
) -> Drawing:
    """Draw error and accuracy after each perturbation, layer by layer, for each variant.

    Args:
        outcomes: with decoders that were trained on unperturbed features.
        retrained: with decoders that were trained on perturbed features.
        inverted: reconstructions by optimization.
        variant: the one for which `retrained` and `inverted` are shown.
    """
    shown = {f"Optimization: half of {variant}": inverted.outcomes()}
    if retrained.by_layer:
        same = {layer: outcomes.by_layer[layer] for layer in retrained.by_layer}
        shown["Decoder trained on unperturbed features"] = Outcomes(same, outcomes.unit)
        shown["Decoder trained on perturbed features"] = retrained
    count = len(inverted.images)
    rows = [
        [
            _bar_chart(part, cases, quantity, f"{start}: half of {title}")
            for title, cases in VARIANTS.items()
        ]
        for part, quantity, start in (
            (outcomes.with_errors(), "error", "Decoder"),
            (outcomes, "accuracy", "Accuracy"),
        )
        if part
    ]
    cases = VARIANTS[variant]
    rows.append([_bar_chart(part, cases, "error", title) for title, part in shown.items()])
    every = [case for own in VARIANTS.values() for case in own.values()]
    return Drawing(
        chart_grid(rows, size=(3.5, 2.2)),
        f"Reconstruction error (1 for two unrelated images) and accuracy by layer. The last row: "
        f"half of {variant} dropped: {count} images by optimization, and decoders that were "
        "trained on perturbed features.",
        "Groups of bars, one group for each layer; dropping the largest half is worst.",
        {layer: [list(row) for row in rows] for layer, rows in outcomes.table(every).items()},
    )


def _bar_chart(part: Outcomes, cases: Mapping[str, Case], quantity: str, title: str) -> Chart:
    heights = {
        name: [getattr(row[case], quantity) for row in part.by_layer.values()]
        for name, case in cases.items()
    }
    top = 1.02 * max(1.0, *(max(values) for values in heights.values()))
    return Chart(heights, [*part.by_layer], title, "layer", YLABELS[quantity], ylim=(0, top))


def dropping_curves(outcomes: Outcomes, steps: Mapping[tuple[str, float], Case]) -> Drawing:
    """Draw accuracy and error over the fraction that is dropped, a row for each layer.

    Args:
        outcomes: of the layers.
        steps: order of dropping and fraction -> case, as `dropping_cases` returns them.
    """
    orders = dict.fromkeys(order for order, _ in steps)
    cases = {
        order: {fraction: case for (name, fraction), case in steps.items() if name == order}
        for order in orders
    }
    rows = [
        [
            Chart(
                _lines(row, cases, quantity),
                title=f"Dropping units of {layer}",
                xlabel="fraction of active units dropped",
                ylabel=YLABELS[quantity],
                ylim=(0, 1.02) if quantity == "accuracy" else None,
            )
            for quantity in ("accuracy", "error")
            if quantity == "accuracy" or layer in outcomes.with_errors().by_layer
        ]
        for layer, row in outcomes.by_layer.items()
    ]
    return Drawing(
        chart_grid(rows, size=(8.8 / max(map(len, rows)), 2.4)),
        "Accuracy and reconstruction error over the fraction of active units that is dropped: the "
        "smallest or the largest first, by magnitude or by magnitude times gradient, or at random.",
        "Curves that start together; those of the largest activations become worse first.",
        {
            layer: [list(row) for row in rows]
            for layer, rows in outcomes.table(steps.values()).items()
        },
    )


def _lines(
    row: Mapping, cases: Mapping[str, Mapping], quantity: str
) -> dict[str, tuple[list, list]]:
    return {
        name: (list(own), [getattr(row[case], quantity) for case in own.values()])
        for name, own in cases.items()
    }


def quantization_curves(outcomes: Outcomes, levels: Mapping[int, Case]) -> Drawing:
    """Draw accuracy and error over the number of bits, a line for each layer.

    Args:
        outcomes: of each layer.
        levels: number of bits -> case.
    """
    charts = [
        Chart(
            {
                name: _lines(row, {name: levels}, quantity)[name]
                for name, row in part.by_layer.items()
            },
            title=title,
            xlabel="bits per activation",
            ylabel=YLABELS[quantity],
            ylim=(0, 1.02) if quantity == "accuracy" else None,
        )
        for part, quantity, title in (
            (outcomes, "accuracy", "Classification of quantized features"),
            (outcomes.with_errors(), "error", "Reconstruction by the decoder"),
        )
        if part
    ]
    return Drawing(
        chart_grid([charts], size=(max(3.7, 6.6 / len(charts)), 2.8)),
        "Accuracy and reconstruction error over the number of bits to which the features of one "
        "layer are quantized.",
        "Curves, one for each layer, that are flat from three bits on.",
        {
            layer: [list(row) for row in rows]
            for layer, rows in outcomes.table(levels.values()).items()
        },
    )
