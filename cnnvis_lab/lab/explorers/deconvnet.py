"""Explorers of projections: what in a picture excited a unit, and how that came about."""

from collections.abc import Mapping, Sequence

import torch

from ...core.backward import RULES
from ...core.statistics import TopK
from ...data import ImageSet
from ...methods import deconvnet, evaluation
from ...methods.deconvnet import TopProjections
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request, cached

TOP_COUNT = 9
CELL_PIXELS = 264


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
        pictures: ImageSet,
        layers: Sequence[str],
        *,
        found: Mapping[str, TopK] | None = None,
        unit: int = 0,
        rule: str = "deconvnet",
    ) -> None:
        self.pictures = pictures
        self.found = found or evaluation.top_images(model, layers, pictures.batches(32), TOP_COUNT)
        self.top: dict[tuple, tuple[TopProjections, torch.Tensor]] = {}
        self.chosen = controls.ImageChoice(model.card.input_size, pictures, self._failed)
        units = {layer: len(self.found[layer].values) for layer in layers}
        layer, one = controls.layer_and_unit(units, layers[-1], unit)
        moved = {
            "picture": self.chosen.control,
            "layer": layer,
            "unit": one,
            "rule": controls.choice("rule", list(RULES), rule),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def draw(self, request: Request, picture: str, layer: str, unit: int, rule: str) -> View:
        """Project the unit's strongest activation on the picture, and on its nine strongest."""
        target, image = f"{layer}:{unit}", self.chosen[picture]
        device = next(request.model.parameters()).device
        back = deconvnet.project(request.model, image[None].to(device), target, rule=rule)
        answer = float(back.activations[0, 0])
        top, patches = self._strongest(request.model, layer, unit, rule)
        rows = [
            [
                Tile(image, picture),
                Tile(figures.normalize_projections(back.pictures[0, :1])[0], f"{target} projected"),
            ],
            [
                Tile(figures.mosaic(patches[0]), f"strongest pictures of {target}"),
                Tile(
                    figures.mosaic(figures.normalize_projections(top.projections[0])), "projected"
                ),
            ],
        ]
        silent = "" if answer > 0 else ": nothing to project, the unit does not fire here"
        strongest = float(top.activations[0, 0])
        text = f"{target} answers {answer:.1f} to {picture}, {strongest:.1f} at most{silent}"
        return View(rows, text, CELL_PIXELS)

    def _strongest(
        self, model: Model, layer: str, unit: int, rule: str
    ) -> tuple[TopProjections, torch.Tensor]:
        """A unit's strongest pictures and their projections, which no choice of picture changes."""
        knobs = {"k": TOP_COUNT, "units": {layer: [unit]}, "found": self.found, "rule": rule}

        def make() -> tuple[TopProjections, torch.Tensor]:
            top = deconvnet.top_projections(model, self.pictures, [layer], **knobs)[layer]
            return top, top.patches(self.pictures)

        return cached(self.top, (layer, unit, rule), make)
