"""Figures of activation maximization: labels at their images, and the numbers that are shown."""

import torch

from cnnvis_lab.lab import figures
from cnnvis_lab.methods.activation_maximization import (
    Facets,
    KernelAgreement,
    RecipeComparison,
    Rendering,
    full_canvas,
)
from cnnvis_lab.methods.dissection import BasisComparison

builders = figures.activation_maximization
CLASSES = ("cat", "dog")


def _texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def _rendering(*targets: str, **fields: object) -> Rendering:
    images = torch.rand(len(targets), 3, 16, 16)
    snapshots = fields.get("snapshots", {})
    history, activations = torch.zeros(4, len(targets)), torch.zeros(len(targets))
    return Rendering(targets, images, activations, history, snapshots, False, full_canvas(16))


def test_an_ascent_ends_with_its_result():
    rendering = _rendering("logits:0", "logits:1", snapshots={0: torch.rand(2, 3, 16, 16)})
    figure = builders.ascent(rendering, CLASSES)
    assert len(figure.axes) == 4 and _texts(figure) == ["step 0", "4", *CLASSES]


def test_first_layer_units_are_shown_from_the_most_colorful_to_the_grayest():
    kernels = torch.rand(24, 3, 5, 5) - 0.5
    patches = kernels.expand(4, *kernels.shape)
    agreement = KernelAgreement("CL1", patches, kernels, torch.ones(4, 24))
    drawing = builders.starts(agreement)
    assert len(drawing.figure.axes) == 16
    units = drawing.arrays["units"]
    assert [f"CL1:{unit}" in _texts(drawing.figure) for unit in units] == [True] * 4
    assert (agreement.saturation[units].diff() < 0).all()
    drawing = builders.kernels(agreement)
    assert len(drawing.figure.axes) == 40
    assert sum(text == "r = 1.000" for text in _texts(drawing.figure)) == 20
    shown = [text for text in _texts(drawing.figure) if text.startswith("CL1:")]
    assert shown == [f"CL1:{unit}" for unit in agreement.by_saturation[:10]] + [
        f"CL1:{unit}" for unit in agreement.by_saturation[-10:]
    ]


def test_units_are_shown_once_and_gray_kernels_are_not_called_colorful():
    kernels = torch.rand(9, 3, 5, 5) - 0.5
    few = KernelAgreement("0", kernels[None], kernels, torch.ones(1, 9))
    texts = _texts(builders.kernels(few).figure)
    assert len({text for text in texts if text[:2] == "0:"}) == texts.count("r = 1.000") == 8
    gray = KernelAgreement("0", kernels[None, :, :1], kernels[:, :1], torch.ones(1, 9))
    drawing = builders.kernels(gray)
    assert _texts(drawing.figure).count("r = 1.000") == 9
    assert not any("color" in text for text in [*_texts(drawing.figure), drawing.caption])


def test_rows_are_layers_with_their_complexity():
    renderings = {"CL2": _rendering("CL2:3", "CL2:5"), "FL1": _rendering("FL1:1")}
    drawing = builders.layers(renderings, {"CL2": 236.8, "FL1": 657.2})
    assert {"CL2:3", "CL2:5", "FL1:1"} <= {*_texts(drawing.figure)}
    assert "CL2\ncomplexity 237" in _texts(drawing.figure)
    assert [*drawing.arrays] == ["CL2", "FL1"]


def test_class_images_stand_above_real_ones():
    targets = [f"logits:{n}" for n in range(10)]
    drawing = builders.class_images(_rendering(*targets), torch.rand(10, 3, 16, 16), "a" * 10)
    assert len(drawing.figure.axes) == 16 and len(drawing.arrays["images"]) == 10


def test_recipes_are_labeled_with_what_was_measured():
    images = dict.fromkeys(("none", "mine"), torch.rand(2, 3, 16, 16))
    values = {"none": 0.25, "mine": 0.5}
    activations = {"none": -0.042, "mine": 30.4}
    drawing = builders.recipes(RecipeComparison(images, CLASSES, activations, values, values))
    label = "no prior\nactivation −0.042\nhigh frequencies 25.0 %\nrecognized 25 %"
    assert label in _texts(drawing.figure)
    assert [*drawing.arrays.values()] == [[0.25, 0.5]] * 2 and "classifier" in drawing.caption
    drawing = builders.recipes(RecipeComparison(images, CLASSES, activations, values, {}))
    assert "mine\nactivation 30\nhigh frequencies 50.0 %" in _texts(drawing.figure)
    assert [*drawing.arrays] == ["high_frequency"] and "classifier" not in drawing.caption


def test_depth_facets_directions_and_dreams_are_drawn():
    rendering = _rendering("CL5:1", "CL5:2")
    agreement = {"CL1": torch.tensor(1.0), "CL2": torch.tensor(0.5)}
    drawing = builders.depth(agreement, {"CL2": 200.0})
    left, right = drawing.figure.axes
    assert [bar.get_height() for bar in left.patches] == [1, 0.5] and len(right.patches) == 1
    facets = Facets(rendering.images, rendering, rendering)
    assert len(builders.facets(facets, "cat").figure.axes) == 6
    empty, some = torch.zeros(0), torch.tensor([0.1, 0.3])
    drawing = builders.directions(rendering, rendering, BasisComparison(empty, empty))
    assert [*drawing.arrays] == ["directions"] and "units" in _texts(drawing.figure)
    drawing = builders.directions(rendering, rendering, BasisComparison(some, some / 2))
    assert "units\nmean IoU 0.200" in _texts(drawing.figure)
    photograph = torch.rand(3, 20, 20)
    drawing = builders.dreams(photograph, {"CL3": photograph, "CL5": photograph})
    assert _texts(drawing.figure) == ["photograph", "CL3", "CL5"]
    assert drawing.arrays["dreams"].shape == (2, 3, 20, 20)
