"""Figures of perturbed features: F10, and what each change, each bit and each map is worth."""

import math
from collections.abc import Hashable, Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from ...core import Float, image_metrics
from ...methods.perturbation import VARIANTS, Case, Outcome, PruningResult, by_fraction, by_layer
from . import charts, images
from .charts import Chart

OutcomesByLayer = Mapping[str, Mapping[Hashable, Outcome]]  # layer -> case -> what is left
QUANTITIES = ("accuracy", "error")  # errors need decoders, which layers may lack


def reconstructions(
    picture: Float[Tensor, "3 h w"],
    ways: Mapping[str, Mapping[str, Float[Tensor, "cases n 3 h w"]]],
    names: Sequence[str],
    layers: Sequence[str],
    unit: float,
) -> Figure:
    """Draw F10: a picture, and below it what its features give, each with its error.

    Args:
        picture: the first of those inverted.
        ways: way of inversion -> layer -> pictures by case; layers may be missing.
        names: of the cases.
        layers: of the columns.
        unit: of the error, see `core.measures.distance_unit`.
    """
    rows, notes, words = [[picture] * len(layers)], [[""] * len(layers)], ["picture"]
    for way, own in ways.items():
        for case, name in enumerate(names if own else ()):
            row = [own[layer][case, 0] if layer in own else None for layer in layers]
            rows.append(row)
            notes.append([_error_note(image, picture, unit) for image in row])
            words.append(f"{name},\n{way}")
    return images.image_grid(rows, row_labels=words, column_labels=layers, notes=notes, cell=0.92)


def _error_note(image: Tensor | None, picture: Float[Tensor, "3 h w"], unit: float) -> str:
    return (
        ""
        if image is None
        else f"{float(image_metrics.distance(image[None], picture[None], unit)):.2f}"
    )


def reconstructions_from_scores(
    pictures: Float[Tensor, "n 3 h w"],
    ways: Mapping[str, Float[Tensor, "cases n 3 h w"]],
    names: Sequence[str],
    unit: float,
) -> Figure:
    """Draw a row for each picture: itself, and what some cases of its class scores give.

    Args:
        pictures: those inverted.
        ways: way of inversion -> pictures by case.
        names: of the cases.
        unit: of the error.
    """
    rows = [
        [image, *(own[case, n] for own in ways.values() for case in range(len(names)))]
        for n, image in enumerate(pictures)
    ]
    notes = [["", *(_error_note(image, row[0], unit) for image in row[1:])] for row in rows]
    words = ["picture", *(f"{name}, {way}" for way in ways for name in names)]
    return images.image_grid(rows, column_labels=words, notes=notes, cell=1.25)


def layers_with_errors(found: OutcomesByLayer) -> OutcomesByLayer:
    """Return the layers that have errors, which need a decoder."""
    return {
        layer: own
        for layer, own in found.items()
        if not any(math.isnan(outcome.error) for outcome in own.values())
    }


def errors_and_accuracies(
    found: OutcomesByLayer,
    hardened: OutcomesByLayer,
    descended: Mapping[str, Sequence[float]],
    variant: str,
    layers: Sequence[str],
) -> Figure:
    """Draw error and accuracy after each change, layer by layer, for each reading of the halves.

    Args:
        found: what decoders trained on clean features, and the network, give.
        hardened: what decoders trained on perturbed features give.
        descended: case -> mean errors of descents, layer by layer.
        variant: the reading these two are shown in, a key of `VARIANTS`.
        layers: a short word for each layer of `found`.
    """
    drawn, cases = layers_with_errors(found), VARIANTS[variant]
    rows = [
        [_bar_chart(own, halves, what, words, title) for title, halves in VARIANTS.items()]
        for own, what, words in ((drawn, "error", list(drawn)), (found, "accuracy", layers))
        if own
    ]
    below = [Chart(descended, layers, "By descent", "layer", "error")]
    if hardened:
        same = {layer: found[layer] for layer in hardened}
        for own, title in ((same, "Trained on clean features"), (hardened, "Trained on perturbed")):
            below.append(_bar_chart(own, cases, "error", list(own), title))
    return charts.chart_grid([*rows, below], size=(3.3, 2.2))


def _bar_chart(
    found: OutcomesByLayer, cases: Mapping[str, Case], what: str, words: Sequence[str], title: str
) -> Chart:
    return Chart(by_layer(found, cases, what), words, title, "layer", what)


def dropping_curves(
    found: OutcomesByLayer, steps: Mapping[str, Sequence[Case]], shares: Sequence[float]
) -> Figure:
    """Draw error and accuracy over the share that is dropped, a row for each layer.

    Args:
        found: what is left, layer by layer.
        steps: order of dropping -> a case for each share.
        shares: those.
    """
    known = layers_with_errors(found)
    rows = [
        [
            Chart(
                {name: (shares, values) for name, values in by_fraction(own, steps, what).items()},
                title=layer,
                xlabel="share of the active entries dropped",
                ylabel=what,
            )
            for what in QUANTITIES
            if what == "accuracy" or layer in known
        ]
        for layer, own in found.items()
    ]
    return charts.chart_grid(rows, size=(_chart_width(rows, 6.6), 2.4))


def quantization_curves(found: OutcomesByLayer, levels: Mapping[int, Case]) -> Figure:
    """Draw error and accuracy over the number of bits, a line for each layer."""
    row = [
        Chart(
            {layer: (list(levels), [getattr(own[c], what) for c in levels.values()])
             for layer, own in part.items()},
            xlabel="bits",
            ylabel=what,
        )
        for part, what in ((found, "accuracy"), (layers_with_errors(found), "error"))
        if part
    ]  # fmt: skip
    return charts.chart_grid([row], size=(_chart_width([row], 5.8), 2.6))


def pruning_curves(
    curves: Mapping[str, Mapping[str, Sequence[PruningResult]]],
    together: Mapping[str, Sequence[PruningResult]],
) -> Figure:
    """Draw accuracy over the maps removed, layer by layer, and of all these layers over the cost.

    Args:
        curves: layer -> way of ranking -> what is left.
        together: way of ranking -> what is left of all layers; may be empty.
    """
    row = [
        Chart(
            {way: ([p.share for p in line], [p.accuracy for p in line])
             for way, line in own.items()},
            title=layer,
            xlabel="share of the maps removed",
            ylabel="accuracy",
        )
        for layer, own in curves.items()
    ]  # fmt: skip
    lines = {
        way: ([p.multiply_adds / 1e6 for p in line], [p.accuracy for p in line])
        for way, line in together.items()
    }
    if lines:
        title = " and ".join(curves)
        row.append(Chart(lines, (), title, "million multiply-adds a picture", "accuracy"))
    return charts.chart_grid([row], size=(_chart_width([row], 5.8, 3.3), 2.5))


def _chart_width(rows: Sequence[Sequence[Chart]], least: float, each: float = 3.7) -> float:
    """Return the width of one chart, so that together they are as wide as their legend."""
    return max(each, least / max(map(len, rows)))
