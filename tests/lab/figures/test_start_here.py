"""Figures of notebook 00: each label at its image, as many cells as results."""

import torch
from torch import nn

from cnnvis_lab.core import hooks
from cnnvis_lab.lab import figures
from cnnvis_lab.methods.activation_maximization import Rendering, full_canvas
from cnnvis_lab.methods.deconvnet import Projections
from cnnvis_lab.methods.dissection import TopActivation
from cnnvis_lab.methods.inversion import Inversion

builders = figures.start_here
TARGETS = ("CL5:3", "CL5:7")


def _texts(drawing: figures.Drawing) -> list[str]:
    return [text.get_text() for text in drawing.figure.texts if text.get_text()]


def _rendering() -> Rendering:
    images, zeros = torch.rand(2, 3, 16, 16), torch.zeros(2)
    return Rendering(TARGETS, images, zeros, torch.zeros(4, 2), {}, False, full_canvas(16))


def test_predictions_are_named_with_their_probability():
    probabilities = torch.tensor([[0.9, 0.1], [0.25, 0.75]])
    drawing = builders.predictions(torch.rand(2, 3, 8, 8), probabilities, ["cat", "dog"])
    assert _texts(drawing) == ["cat 90 %", "dog 75 %"]


def test_the_most_active_maps_come_first():
    net, image = nn.Sequential(nn.Conv2d(3, 9, 3), nn.Conv2d(9, 4, 3)), torch.rand(1, 3, 12, 12)
    with torch.no_grad(), hooks.record(net, ["0", "1"]) as outputs:
        net(image)
    drawing = builders.feature_maps(image[0], outputs, ["0", "1"])
    order = outputs["0"][0].relu().amax((1, 2)).argsort(descending=True).tolist()
    texts = _texts(drawing)
    assert [text for text in texts if text.startswith("0:")] == [f"0:{u}" for u in order[:7]]
    assert {"0\n10 x 10", "1\n8 x 8"} <= {*texts} and len(drawing.figure.axes) == 2 * 1 + 7 + 4


def test_each_unit_has_its_own_projection():
    pixels = torch.rand(2, 2, 3, 8, 8)
    projected = Projections(TARGETS, pixels, torch.ones(2, 2), torch.zeros(2, 2, 2).int())
    drawing = builders.projections(torch.rand(2, 3, 8, 8), projected)
    assert torch.equal(drawing.arrays["projections"], torch.stack([pixels[0, 0], pixels[1, 1]]))
    assert len(drawing.figure.axes) == 4


def test_a_decoder_fills_its_column_only():
    images = torch.rand(2, 1, 1, 3, 8, 8)
    result = Inversion(
        ("CL1.relu", "FL3"), images, torch.zeros(2, 1, 1), torch.zeros(1, 2, 1, 1), False
    )
    layers = {"CL1": "CL1.relu", "FL3": "FL3"}
    for decoded, cells in (({}, 3), ({"FL3": torch.rand(1, 3, 8, 8)}, 4)):
        drawing = builders.inversions(torch.rand(3, 8, 8), layers, result, decoded)
        assert len(drawing.figure.axes) == cells
        assert ("by a decoder" in _texts(drawing)) == bool(decoded)
        assert torch.equal(drawing.arrays["FL3"], images[1, 0])


def test_units_are_drawn_with_their_concepts():
    one = TopActivation(torch.rand(3, 8, 8), torch.ones(4, 4) > 0, "CL5", 3, "screen", 0.284, True)
    drawing = builders.concepts(_rendering(), [[one, one], [one, one]])
    assert "CL5:3\nscreen\nIoU 0.28" in _texts(drawing) and len(drawing.figure.axes) == 6
    assert _texts(builders.maximized(_rendering())) == [*TARGETS]
