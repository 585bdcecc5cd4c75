"""Explorer for training evolution: a layer's projections at any recorded step of a training."""

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
        evolution: from `training_evolution.load`, with projections.
        images: the dataset it was recorded on; None to show no image regions.
        layer: initial layer; the last by default.
        count: maximum number of units shown.
    """

    title = "How did this layer's features develop?"
    alt = (
        "Projections of some units at one step of the training, above the image regions they show."
    )

    def __init__(
        self, evolution: Evolution, images: ImageSet | None, *, layer: str = "", count: int = 6
    ) -> None:
        self.evolution, self.images, self.count = evolution, images, count
        layers, steps = list(evolution.layers), evolution.steps
        contrasts = ["per image", "per layer"]
        widgets = {
            "layer": controls.choice("layer", layers, layer or layers[-1]),
            "step": controls.slider("step", steps, steps[-1], live=True),
            "contrast": controls.choice("contrast", contrasts, contrasts[0]),
        }
        super().__init__(nn.Identity(), widgets)  # everything is recorded; no network is needed

    def draw(self, request: Request, layer: str, step: int, contrast: str) -> View:
        """Lay out what was recorded; nothing is computed.

        Args:
            request: the request that is being computed.
            layer: name of a recorded layer.
            step: one of the recorded steps.
            contrast: "per image" or "per layer".
        """
        snapshots, index = self.evolution.snapshots, self.evolution.steps.index(step)
        tops = [snapshot.projections[layer] for snapshot in snapshots]
        recorded = self.evolution.top_projections(layer)[:, : self.count]
        if contrast == "per layer":
            scaled = figures.normalize_projections(recorded.flatten(0, 1), shared=True)
            projections = scaled.reshape(recorded.shape)[index]
        else:
            projections = figures.normalize_projections(recorded[index])
        now, before = tops[index].images[:, 0], tops[max(index - 1, 0)].images[:, 0]
        names = [f"unit {unit}" for unit in self.evolution.units[layer]]
        changes = ["new image" if a != b else "" for a, b in zip(now, before, strict=True)]
        rows = [[Tile(*pair) for pair in zip(projections, names, strict=False)]]
        if self.images is not None:
            patches = tops[index].select(range(len(projections))).patches(self.images)[:, 0]
            rows.append([Tile(*pair) for pair in zip(patches, changes, strict=False)])
        facts = [f"{name} {value:.2f}" for name, value in snapshots[index].metrics.items()]
        changed = int((now != before).sum())
        facts.append(f"{changed} of {len(now)} units have a new top-activating image")
        text = f"{layer}, step {step} of {snapshots[-1].step}: {', '.join(facts)}"
        return View(rows, text, 128)
