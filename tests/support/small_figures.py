"""Small figures of known content."""

import numpy as np
import torch
from matplotlib.figure import Figure

from cnnvis_lab.lab import figures

COLORS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]) / 255


def plain(color: torch.Tensor) -> torch.Tensor:
    return color.view(3, 1, 1).expand(3, 4, 4)


def image_grid() -> Figure:
    rows = [[plain(COLORS[0]), None, np.eye(3)], [plain(COLORS[1])]]
    labels = {"row_labels": ["CL1", "features.10"], "column_labels": ["image", "", "map"]}
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
    maps = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0))
    picture = plain(COLORS[0])
    return figures.deconvnet.projection_trace(
        [picture, maps[0], maps[1]], [picture - 0.5, maps[2], torch.zeros(5, 5)],
        names=["picture", "conv1\n5 maps", "pool1"], steps=["filter\n5x5, stride 4", "max-pool"],
        back_steps=["filter,\ntransposed", "unpool"], switches=[1], turn="one activation",
    )  # fmt: skip
