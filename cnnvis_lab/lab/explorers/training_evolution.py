"""Panel for training evolution: a layer's projections at any recorded step of a training."""

import torch
from torch import nn

from ...data import ImageSet
from ...methods.training_evolution import Evolution
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request


class TrainingEvolution(Explorer):
    """A layer's projections at any recorded step of a training.

    Args:
        recording: from `training_evolution.load`, with projections.
        pictures: the data set it was recorded on.
        layer: which to begin with; the last by default.
        count: units shown at most.
    """

    title = "How did this layer's features come about?"
    alt = "Projections of some units at one step of the training, above the pictures they are of."

    def __init__(
        self,
        recording: Evolution,
        pictures: ImageSet,
        *,
        layer: str = "",
        count: int = 6,
    ) -> None:
        self.recording, self.pictures, self.count = recording, pictures, count
        layers, steps = list(recording.layers), recording.steps
        contrasts = ["each its own", "one a layer"]
        moved = {
            "layer": controls.choice("layer", layers, layer or layers[-1]),
            "step": controls.slider("step", steps, steps[-1], live=True),
            "contrast": controls.choice("contrast", contrasts, contrasts[0]),
        }
        super().__init__(nn.Identity(), moved)  # no network is looked into: all is recorded

    def draw(self, request: Request, layer: str, step: int, contrast: str) -> View:
        """Lay out what was recorded; nothing is computed anew."""
        states, place = self.recording.snapshots, self.recording.steps.index(step)
        tops = [state.projections[layer] for state in states]
        shared = contrast == "one a layer"
        drawn = torch.stack([top.projections[: self.count, 0] for top in tops])
        if shared:
            scaled = figures.normalize_kernels(
                drawn.flatten(0, 1), shared=True, clip_fraction=0.005
            )
            projections = scaled.reshape(drawn.shape)[place]
        else:
            projections = figures.normalize_projections(drawn[place])
        here, before = tops[place].images[:, 0], tops[max(place - 1, 0)].images[:, 0]
        patches = tops[place].select(range(len(projections))).patches(self.pictures)[:, 0]
        words = [f"unit {unit}" for unit in self.recording.units[layer]]
        changed = ["other picture" if a != b else "" for a, b in zip(here, before, strict=True)]
        rows = [
            [Tile(*pair) for pair in zip(projections, words, strict=False)],
            [Tile(*pair) for pair in zip(patches, changed, strict=False)],
        ]
        told = [f"{name} {value:.2f}" for name, value in states[place].numbers.items()]
        moved = int((here != before).sum())
        told.append(f"{moved} of {len(here)} units have another strongest picture than before")
        return View(rows, f"{layer}, step {step} of {states[-1].step}: {', '.join(told)}", 128)
