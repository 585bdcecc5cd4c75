"""Explorer for training evolution: a layer's projections at any recorded step of a training."""

from types import SimpleNamespace

from torch import nn

from ...core import copies
from ...data import ImageSet
from ...methods import deconvnet, training_evolution
from ...methods.training_evolution import Evolution, Snapshot
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .units import Activity
from .worker import Request


class TrainingEvolution(Explorer):
    """A layer's projections at any recorded step of a training.

    Args:
        evolution: from `training_evolution.load`, with projections.
        images: the dataset it was recorded on; None to show no image regions.
        layer: initial layer; the last by default.
        count: maximum number of units shown.
        model: a network of the recorded architecture, of which a copy gets the weights of the
            chosen step, to show projections on an image; None to show what was recorded only.
    """

    title = "How did this layer's features develop?"
    alt = (
        "Projections of some units at one step of the training, above the image regions they show."
    )
    imports = ("from cnnvis_lab.lab import figures",)

    def __init__(
        self,
        evolution: Evolution,
        images: ImageSet | None,
        *,
        layer: str = "",
        count: int = 6,
        model: Model | None = None,
    ) -> None:
        self.evolution, self.images, self.count = evolution, images, count
        layers, steps = list(evolution.layers), evolution.steps
        contrasts = ["per image", "per layer"]
        widgets = {
            "layer": controls.choice("layer", layers, layer or layers[-1]),
            "step": controls.slider("step", steps, steps[-1], live=True),
            "contrast": controls.choice("contrast", contrasts, contrasts[0]),
        }
        if model is None:  # everything is recorded
            super().__init__(nn.Identity(), widgets)
            return
        view = copies.copy_network(model)
        super().__init__(view, widgets, controls.ImageChoice(view, images))

    def draw(self, request: Request, layer: str, step: int, contrast: str, image: str = "") -> View:
        """Lay out what was recorded, and compute projections on the chosen image, if there is one.

        Args:
            request: the request that is being computed.
            layer: name of a recorded layer.
            step: one of the recorded steps of the training.
            contrast: contrast of the projections, of each image or of the whole layer.
            image: image on which the units of this step are projected; a file of your own.
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
        if image:
            rows.append(self._own_row(request.model, snapshots[index], layer, image))
        changed = int((now != before).sum())
        facts.append(f"{changed} of {len(now)} units have a new top-activating image")
        text = f"{layer}, step {step} of {snapshots[-1].step}: {', '.join(facts)}"
        return View(rows, text, 104 if image else 128, 440)  # there is no grid of units

    def _own_row(self, model: Model, snapshot: Snapshot, layer: str, image: str) -> list[Tile]:
        """The chosen image, and the projections of the units' activations on it."""
        training_evolution.restore(model, snapshot)
        pixels, units = self.chosen[image], self.evolution.units[layer][: self.count - 1]
        projections = [
            deconvnet.project(model, pixels[None], f"{layer}:{unit}").pixels[0] for unit in units
        ]
        prediction = Activity().prediction(model, pixels)  # of these weights
        tiles = [Tile(pixels, "\n".join([image, *prediction]))]
        for unit, projection in zip(units, projections, strict=True):
            tiles.append(Tile(figures.normalize_projections(projection)[0], f"unit {unit} on it"))
        return tiles

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the expression of the recorded projections."""
        index = self.evolution.steps.index(at.step)
        scaled = f"figures.normalize_projections(recorded[{index}])"
        if at.contrast == "per layer":
            every = "figures.normalize_projections(recorded.flatten(0, 1), shared=True)"
            scaled = f"{every}.reshape(recorded.shape)[{index}]"
        recorded = f"evolution.top_projections({at.layer!r})[:, :{self.count}]"
        return f"recorded = {recorded}\nresult = {scaled}"
