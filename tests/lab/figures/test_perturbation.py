"""Figures of perturbed features show the numbers they were given, and leave out what is unknown."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from cnnvis_lab.lab import figures
from cnnvis_lab.methods.perturbation import VARIANTS, Case, Outcome, PruningResult

NAN = float("nan")
VARIANT = "halves of what fires"


def _outcomes(**errors: float) -> dict[str, dict[Case, Outcome]]:
    """Outcomes of layers that differ from case to case; an error of NaN stays so."""
    cases = list(dict.fromkeys(case for own in VARIANTS.values() for case in own.values()))
    return {
        layer: {case: Outcome(error + n, n / 100) for n, case in enumerate(cases)}
        for layer, error in errors.items()
    }


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_bars_are_the_outcomes_in_each_variant():
    found, retrained = _outcomes(CL5=1.0, FL1=2.0, FL2=NAN), _outcomes(FL1=0.5)
    below = {name: [0.1 * n, 0.2, 0.3] for n, name in enumerate(VARIANTS[VARIANT])}
    figure = figures.perturbation.errors_and_accuracies(
        found, retrained, below, VARIANTS, VARIANT, ["CL5", "FL1", "FL2"]
    )
    words = ["By descent", "Trained on clean features", "Trained on perturbed"]
    assert _titles(figure) == [*VARIANTS, *VARIANTS, *words]
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes]
    for place, (what, layers) in enumerate(
        (("error", found.keys() - {"FL2"}), ("accuracy", found))
    ):
        for cases, shown in zip(VARIANTS.values(), heights[3 * place :][:3], strict=True):
            expected = [getattr(found[n][c], what) for c in cases.values() for n in sorted(layers)]
            assert shown == pytest.approx(expected)
    assert heights[6] == pytest.approx([value for row in below.values() for value in row])
    own = [
        [part["FL1"][c].error for c in VARIANTS[VARIANT].values()] for part in (found, retrained)
    ]
    assert heights[7:] == [pytest.approx(values) for values in own]


def test_without_decoders_there_are_accuracies_and_errors_of_optimization():
    below = {name: [0.5] for name in VARIANTS[VARIANT]}
    figure = figures.perturbation.errors_and_accuracies(
        _outcomes(a=NAN), {}, below, VARIANTS, VARIANT, ["1"]
    )
    assert _titles(figure) == [*VARIANTS, "By descent"]


def _lines(figure: Figure) -> list[list[list[float]]]:
    return [[np.asarray(line.get_xydata()).T.tolist() for line in a.lines] for a in figure.axes]


def test_lines_go_through_the_outcomes_at_each_fraction():
    first, second, third = Case("none"), Case("x"), Case("y")
    steps = {"least": [first, second], "most": [first, third]}
    own = {first: Outcome(0.5, 1), second: Outcome(0.6, 0.9), third: Outcome(0.8, 0.2)}
    unknown = {case: Outcome(NAN, outcome.accuracy) for case, outcome in own.items()}
    figure = figures.perturbation.dropping_curves({"a": own, "b": unknown}, steps, [0, 0.5])
    right = [[[0, 0.5], [1, 0.9]], [[0, 0.5], [1, 0.2]]]
    assert _lines(figure) == [right, [[[0, 0.5], [0.5, 0.6]], [[0, 0.5], [0.5, 0.8]]], right]
    assert _titles(figure) == ["a", "a", "b"]


def test_lines_go_through_the_outcomes_at_each_number_of_bits():
    levels = {1: Case("a"), 4: Case("b")}
    own = {levels[1]: Outcome(NAN, 0.5), levels[4]: Outcome(NAN, 0.75)}
    assert _lines(figures.perturbation.quantization_curves({"x": own}, levels)) == [
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
    picture = torch.full((3, 8, 8), 0.5)
    own = picture.expand(2, 1, 3, 8, 8).clone()
    own[1] += 0.25
    ways = {"decoder": {"FL1": own}, "descent": {"CL1": own, "FL1": own}}
    figure = figures.perturbation.reconstructions(
        picture, ways, ["none", "least"], ["CL1", "FL1"], 2.0
    )
    assert len(figure.axes) == 2 + 2 + 4
    words = [text.get_text() for text in figure.texts]
    far = f"{0.25 * (3 * 8 * 8) ** 0.5 / 2:.2f}"
    assert [word for word in words if "." in word] == ["0.00", far, *["0.00"] * 2, *[far] * 2]
    assert {"picture", "none,\ndecoder", "least,\ndescent", "CL1", "FL1"} <= set(words)
    bare = figures.perturbation.reconstructions(
        picture, {"decoder": {}, "descent": ways["descent"]}, ["none", "least"], ["CL1", "FL1"], 2.0
    )
    assert len(bare.axes) == 2 + 4
    scores = figures.perturbation.reconstructions_from_scores(
        picture[None], {"descent": own}, ["all", "few"], 2.0
    )
    assert len(scores.axes) == 3
