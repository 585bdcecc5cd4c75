"""Figures of perturbed features show the given numbers and omit unknown ones."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from cnnvis_lab.lab import figures
from cnnvis_lab.methods.perturbation import VARIANTS, Case, Outcome, PruningResult

NAN = float("nan")
VARIANT = "halves of what fires"


def _outcomes(**errors: float) -> dict[str, dict[Case, Outcome]]:
    """Outcomes of layers that differ from case to case; an error of NaN stays NaN."""
    cases = list(dict.fromkeys(case for variant in VARIANTS.values() for case in variant.values()))
    return {
        layer: {case: Outcome(error + n, n / 100) for n, case in enumerate(cases)}
        for layer, error in errors.items()
    }


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_bars_are_the_outcomes_in_each_variant():
    outcomes, retrained = _outcomes(CL5=1.0, FL1=2.0, FL2=NAN), _outcomes(FL1=0.5)
    optimized = {name: [0.1 * n, 0.2, 0.3] for n, name in enumerate(VARIANTS[VARIANT])}
    figure = figures.perturbation.errors_and_accuracies(
        outcomes, retrained, optimized, VARIANTS, VARIANT, ["CL5", "FL1", "FL2"]
    )
    titles = ["By descent", "Trained on clean features", "Trained on perturbed"]
    assert _titles(figure) == [*VARIANTS, *VARIANTS, *titles]
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    for row, (quantity, layers) in enumerate(
        (("error", outcomes.keys() - {"FL2"}), ("accuracy", outcomes))
    ):
        for cases, bars in zip(VARIANTS.values(), heights[3 * row :][:3], strict=True):
            expected = [
                getattr(outcomes[n][c], quantity) for c in cases.values() for n in sorted(layers)
            ]
            assert bars == pytest.approx(expected)
    assert heights[6] == pytest.approx([value for row in optimized.values() for value in row])
    errors = [
        [trained["FL1"][c].error for c in VARIANTS[VARIANT].values()]
        for trained in (outcomes, retrained)
    ]
    assert heights[7:] == [pytest.approx(values) for values in errors]


def test_without_decoders_there_are_accuracies_and_errors_of_optimization():
    optimized = {name: [0.5] for name in VARIANTS[VARIANT]}
    figure = figures.perturbation.errors_and_accuracies(
        _outcomes(a=NAN), {}, optimized, VARIANTS, VARIANT, ["1"]
    )
    assert _titles(figure) == [*VARIANTS, "By descent"]


def _lines(figure: Figure) -> list[list[list[float]]]:
    return [[np.asarray(line.get_xydata()).T.tolist() for line in a.lines] for a in figure.axes]


def test_lines_go_through_the_outcomes_at_each_fraction():
    first, second, third = Case("none"), Case("x"), Case("y")
    steps = {"least": [first, second], "most": [first, third]}
    outcomes = {first: Outcome(0.5, 1), second: Outcome(0.6, 0.9), third: Outcome(0.8, 0.2)}
    unknown = {case: Outcome(NAN, outcome.accuracy) for case, outcome in outcomes.items()}
    figure = figures.perturbation.dropping_curves({"a": outcomes, "b": unknown}, steps, [0, 0.5])
    accuracies = [[[0, 0.5], [1, 0.9]], [[0, 0.5], [1, 0.2]]]
    assert _lines(figure) == [
        accuracies,
        [[[0, 0.5], [0.5, 0.6]], [[0, 0.5], [0.5, 0.8]]],
        accuracies,
    ]
    assert _titles(figure) == ["a", "a", "b"]


def test_lines_go_through_the_outcomes_at_each_number_of_bits():
    levels = {1: Case("a"), 4: Case("b")}
    outcomes = {levels[1]: Outcome(NAN, 0.5), levels[4]: Outcome(NAN, 0.75)}
    assert _lines(figures.perturbation.quantization_curves({"x": outcomes}, levels)) == [
        [[[1, 4], [0.5, 0.75]]]
    ]


def test_pruned_networks_are_drawn_over_their_maps_and_their_cost():
    line = [PruningResult(0, 1.0, 10, 2_000_000), PruningResult(0.5, 0.8, 6, 1_000_000)]
    figure = figures.perturbation.pruning_curves(
        {"CL2": {"loss": line}, "CL5": {"loss": line}}, {"loss": line}
    )
    assert _titles(figure) == ["CL2", "CL5", "CL2 and CL5"]
    over_maps = [[[0, 0.5], [1, 0.8]]]
    assert _lines(figure) == [over_maps, over_maps, [[[2, 1], [1, 0.8]]]]
    assert len(figures.perturbation.pruning_curves({"CL2": {"loss": line}}, {}).axes) == 1


def test_images_are_drawn_by_perturbation_and_layer_with_their_errors():
    image = torch.full((3, 8, 8), 0.5)
    reconstructions = image.expand(2, 1, 3, 8, 8).clone()
    reconstructions[1] += 0.25
    methods = {
        "decoder": {"FL1": reconstructions},
        "descent": {"CL1": reconstructions, "FL1": reconstructions},
    }
    figure = figures.perturbation.reconstructions(
        image, methods, ["none", "least"], ["CL1", "FL1"], 2.0
    )
    assert len(figure.axes) == 2 + 2 + 4
    texts = [text.get_text() for text in figure.texts]
    error = f"{0.25 * (3 * 8 * 8) ** 0.5 / 2:.2f}"
    assert [text for text in texts if "." in text] == ["0.00", error, *["0.00"] * 2, *[error] * 2]
    assert {"picture", "none,\ndecoder", "least,\ndescent", "CL1", "FL1"} <= set(texts)
    without_decoder = figures.perturbation.reconstructions(
        image,
        {"decoder": {}, "descent": methods["descent"]},
        ["none", "least"],
        ["CL1", "FL1"],
        2.0,
    )
    assert len(without_decoder.axes) == 2 + 4
    scores = figures.perturbation.reconstructions_from_scores(
        image[None], {"descent": reconstructions}, ["all", "few"], 2.0
    )
    assert len(scores.axes) == 3
