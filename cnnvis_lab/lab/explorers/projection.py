"""Explorers of projections: what in a picture excited a unit, and how that came about."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ...core.reversals import RULES
from ...core.tally import TopK
from ...methods import am_studies, deconvnet, deconvnet_top
from ...methods.deconvnet_top import DataSet, TopProjections
from ...methods.evolution_store import Evolution as Recording
from ...models import Model
from .. import figures
from ..explore import Explorer, View
from ..requests import Job, remembered
from ..tiles import Tile
from . import controls

NINE = 9
CELL = 264


class DeconvNet(Explorer):
    """One picture and one unit; below, the nine pictures that excite the unit most.

    Args:
        model: the network.
        pictures: the data set.
        layers: to choose among.
        found: layer -> the strongest pictures of its units, where a pass has found them already.
        unit: which to begin with, in the last of the layers.
        rule: the way back, a key of `core.reversals.RULES`.
    """

    title = "What in this picture excites this unit?"
    alt = "A picture and a unit's projection on it, above the unit's nine strongest pictures."

    def __init__(
        self,
        model: Model,
        pictures: DataSet,
        layers: Sequence[str],
        *,
        found: Mapping[str, TopK] | None = None,
        unit: int = 0,
        rule: str = "deconvnet",
    ) -> None:
        self.pictures = pictures
        self.found = found or am_studies.strongest(model, layers, pictures.batches(32), NINE)
        self.top: dict[tuple, tuple[TopProjections, torch.Tensor]] = {}
        self.chosen = controls.PictureChoice(model.card.input_size, pictures, self._failed)
        units = {layer: len(self.found[layer].values) for layer in layers}
        layer, one = controls.layer_and_unit(units, layers[-1], unit)
        moved = {
            "picture": self.chosen.control,
            "layer": layer,
            "unit": one,
            "rule": controls.choice("rule", list(RULES), rule),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def draw(self, job: Job, picture: str, layer: str, unit: int, rule: str) -> View:
        """Project the unit's strongest activation on the picture, and on its nine strongest."""
        target, image = f"{layer}:{unit}", self.chosen[picture]
        device = next(job.model.parameters()).device
        back = deconvnet.project(job.model, image[None].to(device), target, rule=rule)
        answer = float(back.activations[0, 0])
        top, patches = self._strongest(job.model, layer, unit, rule)
        rows = [
            [
                Tile(image, picture),
                Tile(figures.projections(back.pictures[0, :1])[0], f"{target} projected"),
            ],
            [
                Tile(figures.sheet(patches[0]), f"strongest pictures of {target}"),
                Tile(figures.sheet(figures.projections(top.projections[0])), "projected"),
            ],
        ]
        silent = "" if answer > 0 else ": nothing to project, the unit does not fire here"
        strongest = float(top.activations[0, 0])
        text = f"{target} answers {answer:.1f} to {picture}, {strongest:.1f} at most{silent}"
        return View(rows, text, CELL)

    def _strongest(
        self, model: Model, layer: str, unit: int, rule: str
    ) -> tuple[TopProjections, torch.Tensor]:
        """A unit's strongest pictures and their projections, which no choice of picture changes."""
        knobs = {"k": NINE, "units": {layer: [unit]}, "found": self.found, "rule": rule}

        def make() -> tuple[TopProjections, torch.Tensor]:
            top = deconvnet_top.top_projections(model, self.pictures, [layer], **knobs)[layer]
            return top, top.patches(self.pictures)

        return remembered(self.top, (layer, unit, rule), make)


class Evolution(Explorer):
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
        recording: Recording,
        pictures: DataSet,
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

    def draw(self, job: Job, layer: str, step: int, contrast: str) -> View:
        """Lay out what was recorded; nothing is computed anew."""
        states, place = self.recording.states, self.recording.steps.index(step)
        tops = [state.projections[layer] for state in states]
        shared = contrast == "one a layer"
        drawn = torch.stack([top.projections[: self.count, 0] for top in tops])
        if shared:
            scaled = figures.kernels(drawn.flatten(0, 1), shared=True, clipped=0.005)
            projections = scaled.reshape(drawn.shape)[place]
        else:
            projections = figures.projections(drawn[place])
        here, before = tops[place].images[:, 0], tops[max(place - 1, 0)].images[:, 0]
        patches = tops[place].some(range(len(projections))).patches(self.pictures)[:, 0]
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
