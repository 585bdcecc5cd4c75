"""Small figures of known content."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from cnnvis_lab.lab import figures
from cnnvis_lab.methods import deconvnet

COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]) / 255


def plain(color: torch.Tensor) -> torch.Tensor:
    return color.view(3, 1, 1).expand(3, 4, 4)


def image_grid() -> Figure:
    rows = [[plain(COLORS[0]), None, np.eye(3)], [plain(COLORS[1])]]
    labels = {
        "row_labels": ["CL1", "features.10"],
        "column_labels": ["image", "", "two\nlines"],
    }
    notes = [["0.5", "", "$x^2$"]]
    labels["title"] = "A title that is wider than the three pictures under it"
    return figures.image_grid(rows, notes=notes, cell=0.8, **labels)


def framed_grid() -> Figure:
    rows = [[plain(COLORS[0]), np.zeros((8, 8))]]
    boxes = [[{"dead": [(0, 0, 2, 2)]}, {"aliased": [(2, 4, 5, 8)], "dead": [(5, 0, 8, 3)]}]]
    return figures.image_grid(rows, boxes=boxes, notes=[["one", "two\nlines"]])


def charts() -> Figure:
    lines = figures.Chart({"a": ([0, 1], [1, 2]), "b": ([0, 1], [2, 0])}, xlabel="step", line=1.5)
    pair = figures.Chart({"b": [1, 2], "c": torch.tensor([3, 1])}, ["x", "y"], "Bars")
    none = figures.Chart({"b": [0, 0], "c": [0.0, 0.0]}, ["x", "y"], "No bars")
    return figures.chart_grid([[lines, pair], [none]])


def schematic() -> Figure:
    maps = torch.randn(2, 5, 5, 5, generator=torch.Generator().manual_seed(0))
    signals = torch.randn(1, 5, 5, 5, generator=torch.Generator().manual_seed(1))
    stages = [
        deconvnet.Stage(
            "conv1", nn.Conv2d(3, 5, 5, 4), maps[0], maps[0], signals[0], signals[0], 1
        ),
        deconvnet.Stage("pool1", nn.MaxPool2d(3, 2), maps[0], maps[1], 0 * maps[1], signals[0], 2),
    ]
    image = plain(COLORS[0])
    trace = deconvnet.ProjectionTrace("CL2:2", image, image - 0.5, tuple(stages))
    return figures.deconvnet.projection_trace(trace, {}).figure
