"""Figures of perturbed features: F10, and the cost of perturbing, quantizing and pruning.

Outcomes are given as layer -> case -> (error, accuracy); an error of NaN is unknown.
"""

import math
from collections.abc import Hashable, Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from ...core import Float, Images, image_metrics
from .charts import Chart, chart_grid
from .images import image_grid

OutcomesByLayer = Mapping[str, Mapping[Hashable, tuple[float, float]]]
QUANTITIES = ("error", "accuracy")  # of each outcome, in this order


def reconstructions(
    image: Float[Tensor, "3 h w"],
    methods: Mapping[str, Mapping[str, Float[Tensor, "cases n 3 h w"]]],
    names: Sequence[str],
    layers: Sequence[str],
    unit: float,
) -> Figure:
    """Draw F10: an image, and below it its reconstructions from each layer, with their errors.

    Args:
        image: the first of the images that were inverted.
        methods: method of inversion -> layer -> images by case; layers may be missing.
        names: of the cases.
        layers: of the columns.
        unit: of the error, see `core.image_metrics.mean_pairwise_distance`.
    """
    rows, notes, labels = [[image] * len(layers)], [[""] * len(layers)], ["picture"]
    for method, by_layer in methods.items():
        for case, name in enumerate(names if by_layer else ()):
            row = [by_layer[layer][case, 0] if layer in by_layer else None for layer in layers]
            rows.append(row)
            notes.append([_error_note(other, image, unit) for other in row])
            labels.append(f"{name},\n{method}")
    return image_grid(rows, row_labels=labels, column_labels=layers, notes=notes, cell=0.92)


def _error_note(other: Tensor | None, image: Float[Tensor, "3 h w"], unit: float) -> str:
    if other is None:
        return ""
    return f"{float(image_metrics.distance(other[None], image[None], unit)):.2f}"


def reconstructions_from_scores(
    images: Images,
    methods: Mapping[str, Float[Tensor, "cases n 3 h w"]],
    names: Sequence[str],
    unit: float,
) -> Figure:
    """Draw a row for each image: the image, and its reconstructions from its class scores.

    Args:
        images: the images that were inverted.
        methods: method of inversion -> images by case.
        names: of the cases.
        unit: of the error.
    """
    rows = [
        [image, *(by_case[case, n] for by_case in methods.values() for case in range(len(names)))]
        for n, image in enumerate(images)
    ]
    notes = [["", *(_error_note(other, row[0], unit) for other in row[1:])] for row in rows]
    labels = ["picture", *(f"{name}, {method}" for method in methods for name in names)]
    return image_grid(rows, column_labels=labels, notes=notes, cell=1.25)


def _with_errors(outcomes: OutcomesByLayer) -> OutcomesByLayer:
    return {
        layer: by_case
        for layer, by_case in outcomes.items()
        if not any(math.isnan(error) for error, _ in by_case.values())
    }


def errors_and_accuracies(
    outcomes: OutcomesByLayer,
    retrained: OutcomesByLayer,
    optimized: Mapping[str, Sequence[float]],
    variants: Mapping[str, Mapping[str, Hashable]],
    variant: str,
    layers: Sequence[str],
) -> Figure:
    """Draw error and accuracy after each perturbation, layer by layer, for each variant.

    Args:
        outcomes: with decoders that were trained on unchanged features.
        retrained: with decoders that were trained on perturbed features.
        optimized: name of a case -> mean errors of inversion by optimization, layer by layer.
        variants: variant -> name of a case -> case.
        variant: the one for which `retrained` and `optimized` are shown.
        layers: a short label for each layer of `outcomes`.
    """
    decoded = _with_errors(outcomes)
    parts = ((decoded, "error", list(decoded)), (outcomes, "accuracy", layers))
    rows = [
        [_bar_chart(part, cases, quantity, labels, title) for title, cases in variants.items()]
        for part, quantity, labels in parts
        if part
    ]
    last = [Chart(optimized, layers, "By descent", "layer", "error")]
    if retrained:
        same = {layer: outcomes[layer] for layer in retrained}
        pair = {"Trained on clean features": same, "Trained on perturbed": retrained}
        cases, labels = variants[variant], list(retrained)
        last += [_bar_chart(part, cases, "error", labels, title) for title, part in pair.items()]
    return chart_grid([*rows, last], size=(3.3, 2.2))


def _bar_chart(
    outcomes: OutcomesByLayer,
    cases: Mapping[str, Hashable],
    quantity: str,
    layers: Sequence[str],
    title: str,
) -> Chart:
    which = QUANTITIES.index(quantity)
    heights = {
        name: [by_case[case][which] for by_case in outcomes.values()]
        for name, case in cases.items()
    }
    return Chart(heights, layers, title, "layer", quantity)


def dropping_curves(
    outcomes: OutcomesByLayer,
    steps: Mapping[str, Sequence[Hashable]],
    fractions: Sequence[float],
) -> Figure:
    """Draw error and accuracy over the fraction that is dropped, a row for each layer.

    Args:
        outcomes: of each layer.
        steps: order of dropping -> a case for each fraction.
        fractions: of the active entries.
    """
    decoded = _with_errors(outcomes)
    rows = [
        [
            Chart(
                {
                    name: (fractions, [by_case[case][which] for case in cases])
                    for name, cases in steps.items()
                },
                title=layer,
                xlabel="share of the active entries dropped",
                ylabel=quantity,
            )
            for which, quantity in ((1, "accuracy"), (0, "error"))
            if quantity == "accuracy" or layer in decoded
        ]
        for layer, by_case in outcomes.items()
    ]
    return chart_grid(rows, size=(_chart_width(rows, 6.6), 2.4))


def quantization_curves(outcomes: OutcomesByLayer, levels: Mapping[int, Hashable]) -> Figure:
    """Draw error and accuracy over the number of bits, a line for each layer.

    Args:
        outcomes: of each layer.
        levels: number of bits -> case.
    """
    row = [
        Chart(
            {
                layer: (list(levels), [by_case[case][which] for case in levels.values()])
                for layer, by_case in part.items()
            },
            xlabel="bits",
            ylabel=QUANTITIES[which],
        )
        for part, which in ((outcomes, 1), (_with_errors(outcomes), 0))
        if part
    ]
    return chart_grid([row], size=(_chart_width([row], 5.8), 2.6))


def pruning_curves(
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float, int, int]]]],
    jointly: Mapping[str, Sequence[tuple[float, float, int, int]]],
) -> Figure:
    """Draw accuracy over the removed maps, layer by layer, and over the cost for all these layers.

    Args:
        curves: layer -> criterion -> (fraction removed, accuracy, parameters, multiply-adds) of
            each network.
        jointly: criterion -> the same with maps of all layers removed; may be empty.
    """

    def lines(points_by_criterion: Mapping, x: int, unit: float) -> dict:
        return {
            criterion: ([point[x] / unit for point in points], [point[1] for point in points])
            for criterion, points in points_by_criterion.items()
        }

    row = [
        Chart(lines(own, 0, 1), (), layer, "share of the maps removed", "accuracy")
        for layer, own in curves.items()
    ]
    if jointly:
        title, xlabel = " and ".join(curves), "million multiply-adds a picture"
        row.append(Chart(lines(jointly, 3, 1e6), (), title, xlabel, "accuracy"))
    return chart_grid([row], size=(_chart_width([row], 5.8, 3.3), 2.5))


def _chart_width(rows: Sequence[Sequence[Chart]], total: float, each: float = 3.7) -> float:
    """Return the width of one chart, so that together they are as wide as their legend."""
    return max(each, total / max(map(len, rows)))
