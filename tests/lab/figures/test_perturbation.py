"""Figures of perturbed features show the given numbers and omit unknown ones."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from support import small_chain

from cnnvis_lab.lab import figures
from cnnvis_lab.methods import perturbation
from cnnvis_lab.methods.perturbation import (
    VARIANTS,
    Case,
    Outcome,
    Outcomes,
    PruningCurves,
    PruningResult,
    Reconstructions,
    TunedNetworks,
)
from cnnvis_lab.methods.perturbation.fine_tuning import Trial

NAN = float("nan")
VARIANT = "active units"
CASES = list(dict.fromkeys(case for variant in VARIANTS.values() for case in variant.values()))


def _outcomes(**errors: float) -> Outcomes:
    """Outcomes of layers that differ from case to case; an error of NaN stays NaN."""
    rows = {
        layer: {case: Outcome(error + n / 100, n / 100) for n, case in enumerate(CASES)}
        for layer, error in errors.items()
    }
    return Outcomes(rows, 1)


def _reconstructions(cases: dict, images: int = 1, **layers: bool) -> Reconstructions:
    """Gray images, and reconstructions that are brighter from case to case."""
    originals = torch.full((images, 3, 8, 8), 0.5)
    by_case = torch.stack([originals + 0.05 * n for n in range(len(cases))])
    decoded = {layer: by_case for layer, has_decoder in layers.items() if has_decoder}
    by_method = {"decoder": decoded, "optimization": dict.fromkeys(layers, by_case)}
    return Reconstructions(originals, cases, by_method, 2.0)


def _titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_bars_are_the_outcomes_in_each_variant():
    outcomes, retrained = _outcomes(CL5=0.1, FL1=0.2, FL2=NAN), _outcomes(FL1=0.5)
    inverted = _reconstructions(VARIANTS[VARIANT], CL5=True, FL1=True, FL2=False)
    drawing = figures.perturbation.errors_and_accuracies(outcomes, retrained, inverted, VARIANT)
    axes = drawing.figure.axes
    assert len(axes) == 9 and _titles(drawing.figure)[6:] == [
        f"Optimization: half of {VARIANT}",
        "Decoder trained on unperturbed features",
        "Decoder trained on perturbed features",
    ]
    heights = [[bar.get_height() for bar in one.patches] for one in axes]
    for row, (quantity, part) in enumerate(
        (("error", outcomes.with_errors()), ("accuracy", outcomes))
    ):
        for cases, bars in zip(VARIANTS.values(), heights[3 * row :][:3], strict=True):
            rows = part.by_layer.values()
            expected = [getattr(own[case], quantity) for case in cases.values() for own in rows]
            assert bars == pytest.approx(expected)
    errors = inverted.errors("optimization")
    assert heights[6] == pytest.approx(
        [float(errors[layer][n].mean()) for n in range(5) for layer in errors]
    )
    for bars, part in zip(heights[7:], (outcomes, retrained), strict=True):
        expected = [part.by_layer["FL1"][case].error for case in VARIANTS[VARIANT].values()]
        assert bars == pytest.approx(expected)
    shape = np.asarray(drawing.arrays["CL5"]).shape
    assert list(drawing.arrays) == ["CL5", "FL1", "FL2"] and shape == (15, 2)
    assert all(one.get_ylim()[1] >= max(bars) for one, bars in zip(axes, heights, strict=True))


def test_without_decoders_there_are_accuracies_and_errors_of_optimization():
    inverted = _reconstructions(VARIANTS[VARIANT], features_12=False)
    drawing = figures.perturbation.errors_and_accuracies(
        _outcomes(features_12=NAN), Outcomes({}, 1), inverted, VARIANT
    )
    assert (
        len(drawing.figure.axes) == 4
        and _titles(drawing.figure)[3] == f"Optimization: half of {VARIANT}"
    )
    ticks = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()]
    assert ticks == ["features_12"]


def _lines(figure: Figure) -> list[list[list[float]]]:
    return [[np.asarray(line.get_xydata()).T.tolist() for line in a.lines] for a in figure.axes]


def test_lines_go_through_the_outcomes_at_each_fraction():
    first, second, third = Case("none"), Case("x"), Case("y")
    steps = {("least", 0): first, ("least", 0.5): second, ("most", 0): first, ("most", 0.5): third}
    row = {first: Outcome(0.5, 1), second: Outcome(0.6, 0.9), third: Outcome(0.8, 0.2)}
    unknown = {case: Outcome(NAN, outcome.accuracy) for case, outcome in row.items()}
    drawing = figures.perturbation.dropping_curves(Outcomes({"a": row, "b": unknown}, 1), steps)
    accuracies = [[[0, 0.5], [1, 0.9]], [[0, 0.5], [1, 0.2]]]
    assert _lines(drawing.figure) == [
        accuracies,
        [[[0, 0.5], [0.5, 0.6]], [[0, 0.5], [0.5, 0.8]]],
        accuracies,
    ]
    assert [list(map(tuple, drawing.arrays["a"]))] == [[row[case] for case in steps.values()]]


def test_lines_go_through_the_outcomes_at_each_number_of_bits():
    levels = {1: Case("a"), 4: Case("b")}
    row = {levels[1]: Outcome(NAN, 0.5), levels[4]: Outcome(NAN, 0.75)}
    drawing = figures.perturbation.quantization_curves(Outcomes({"x": row}, 1), levels)
    assert _lines(drawing.figure) == [[[[1, 4], [0.5, 0.75]]]]
    assert np.asarray(drawing.arrays["x"]).shape == (2, 2)


def test_pruned_networks_are_drawn_over_their_maps_and_their_cost():
    line = [PruningResult(0, 1.0, 10, 2_000_000), PruningResult(0.5, 0.8, 6, 1_000_000)]
    by_layer = {"CL2": {"loss": line}, "CL5": {"loss": line}}
    drawing = figures.perturbation.pruning_curves(PruningCurves(by_layer, {"loss": line}))
    assert _titles(drawing.figure) == ["Pruning CL2", "Pruning CL5", "Pruning CL2 and CL5"]
    over_maps = [[[0, 0.5], [1, 0.8]]]
    assert _lines(drawing.figure) == [over_maps, over_maps, [[[2, 1], [1, 0.8]]]]
    assert list(drawing.arrays) == ["CL2 loss", "CL5 loss", "together loss"]
    alone = figures.perturbation.pruning_curves(PruningCurves({"CL2": {"loss": line}}, {}))
    assert len(alone.figure.axes) == 1


def test_fine_tuned_networks_are_drawn_by_criterion_before_and_after():
    model, images = small_chain.model(), small_chain.images()

    def trial(before: float, after: float, loss: float) -> Trial:
        return Trial(model, loss, *(PruningResult(0.3, a, 6, 40) for a in (before, after)))

    trials = {
        "reconstruction": [trial(0.5, 0.94, 2.0)],
        "random": [trial(0.2, 0.9, 3.0), trial(0.4, 0.96, 1.0)],
    }
    tuned = TunedNetworks(
        model, images, PruningResult(0, 0.98, 10, 80), trials, trial(0.4, 0.97, 0.5)
    )
    assert tuned.best is trials["random"][1] and tuned.multiply_adds == 0.5
    assert tuned.accuracy_lost == pytest.approx(0.01)
    drawing = figures.perturbation.tuned_networks(tuned)
    assert isinstance(drawing, figures.Drawing)
    heights = [[bar.get_height() for bar in one.patches] for one in drawing.figure.axes]
    assert heights[0] == pytest.approx([0.5, 0.3, 0.94, 0.93])
    assert heights[1] == pytest.approx([4, 5, 1])
    assert [one.lines[0].get_ydata()[0] for one in drawing.figure.axes] == [0.98, 1]
    assert "50 % of the multiply-adds" in drawing.caption
    assert np.asarray(drawing.arrays["random, after"]).shape == (2, 4)
    reason = "Pruning with fine-tuning needs a sequential network."
    nothing = TunedNetworks(model, images, tuned.whole, reason=reason)
    assert figures.perturbation.tuned_networks(nothing) == reason


def _texts(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.texts]


def test_one_image_is_drawn_with_the_methods_side_by_side_and_their_errors():
    cases = VARIANTS[VARIANT]
    drawing = figures.perturbation.reconstructions(
        _reconstructions(cases, images=2, CL1=False, FL1=True), VARIANT
    )
    assert len(drawing.figure.axes) == 1 + 3 * len(cases)  # the decoder has one layer
    texts = _texts(drawing.figure)
    errors = [f"{0.05 * n * (3 * 8 * 8) ** 0.5 / 2:.2f}" for n in range(len(cases))]
    assert sorted(text for text in texts if text[:1].isdigit()) == sorted(3 * errors)
    assert {"By decoder", "By optimization", "CL1", "FL1", "original", *cases} <= {*texts}
    assert list(drawing.arrays) == ["decoder FL1", "descent CL1", "descent FL1"]
    width, height = drawing.figure.get_size_inches()
    assert width < 11 and height < 11
    alone = figures.perturbation.reconstructions(_reconstructions(cases, CL1=False), VARIANT)
    assert "By decoder" not in _texts(alone.figure) and len(alone.figure.axes) == 1 + len(cases)


def test_reconstructions_from_scores_have_a_row_for_each_image():
    cases = {"all": Case("none"), "few": Case(perturbation.keep_top(1))}
    drawing = figures.perturbation.reconstructions_from_scores(
        _reconstructions(cases, images=3, FL3=True)
    )
    assert len(drawing.figure.axes) == 3 * (1 + 4) and "FL3" not in _texts(drawing.figure)
    assert {name: len(array) for name, array in drawing.arrays.items()} == {
        "decoder": 2,
        "descent": 2,
    }
