"""Panel for DeconvNet: which part of an image activates a unit?"""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor, nn

from ...core.backward import RULES
from ...core.statistics import TopK
from ...data import ImageSet
from ...methods import deconvnet, evaluation
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls, networks
from .base import Explorer, View
from .units import Ranking, UnitGrid, first_shown
from .worker import Request, cached

TOP_COUNT = 9
CELL_PIXELS = 180


class DeconvNet(Explorer):
    """A unit's projection on an image, beside its nine top-activating images.

    Args:
        model: the network.
        dataset: the images.
        layers: layers to choose from; the network's default layers by default.
        top_images: layer -> the result of an earlier pass over the images; None for a pass now.
        layer: initial layer; by default the last of them that is a convolution.
        unit: initial unit.
        rule: initial rule, a key of `core.backward.RULES`.
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "Which part of this image activates this unit?"
    alt = "An image and a unit's projection on it, beside the unit's nine top-activating images."
    imports = (
        "from cnnvis_lab import data, models",
        "from cnnvis_lab.lab import figures",
        "from cnnvis_lab.methods import deconvnet",
    )

    def __init__(
        self,
        model: Model,
        dataset: ImageSet,
        layers: Sequence[str] = (),
        *,
        top_images: Mapping[str, TopK] | None = None,
        layer: str = "",
        unit: int = 0,
        rule: str = "deconvnet",
        atlas: str | Path = "",
    ) -> None:
        self.dataset, layers = dataset, list(layers or model.default_layers())
        self.top_images = top_images or evaluation.top_images(
            model, layers, dataset.batches(32), TOP_COUNT
        )
        self._projections: dict[Hashable, tuple[deconvnet.TopProjections, Tensor]] = {}
        grid = UnitGrid(
            {name: len(self.top_images[name].values) for name in layers},
            layer or first_shown(model, layers), unit,
            known=lambda name: Ranking(dataset, self.top_images[name]), atlas=atlas,
        )  # fmt: skip
        settings = {"rule": controls.choice("rule", list(RULES), rule)}
        super().__init__(model, settings, controls.ImageChoice(model, dataset), grid)

    def for_network(self, model: Model) -> "DeconvNet":
        """Return this panel for another network."""
        rule = self.controls["rule"].value
        return DeconvNet(model, networks.adapt(self.dataset, model), rule=rule)

    def draw(self, request: Request, image: str, layer: str, unit: int, rule: str) -> View:
        """Project the unit's highest activation on the image, and on its top-activating images.

        Args:
            request: the request, with its network.
            image: image that is projected; its thumbnail, or a file of your own.
            layer: dotted name or alias of the layer.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            rule: how the backward pass treats ReLUs.
        """
        target, pixels = f"{layer}:{unit}", self.chosen[image]
        model, device = request.model, next(request.model.parameters()).device
        result = deconvnet.project(model, pixels[None].to(device), target, rule=rule)
        activation = float(result.activations[0, 0])
        top, patches = self._top_projections(model, layer, unit, rule)
        projection = figures.normalize_projections(result.pixels[0])[0]
        projections = figures.normalize_projections(top.projections[0])
        tiles = [
            self.activity.captioned(model, image, pixels),
            Tile(projection, f"projection of {target}"),
            Tile(figures.mosaic(patches[0]), "top-activating images"),
            Tile(figures.mosaic(projections), "their projections"),
        ]
        inactive = "" if activation > 0 else ": the unit is inactive here, and nothing is projected"
        highest = float(top.activations[0, 0])
        text = f"activation of {target} on {image}: {activation:.1f}"
        text += f" (maximum in the dataset: {highest:.1f})"
        return View([tiles], text + inactive, CELL_PIXELS)

    def _data_code(self) -> str:
        """Return the adaptation of the dataset."""
        return networks.ADAPT

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that projects the unit's activation."""
        call = f'deconvnet.project(model, image[None], "{at.layer}:{at.unit}", rule={at.rule!r})'
        return (
            f"image = {self.chosen.code(at.image)}\nprojections = {call}\n"
            "result = figures.normalize_projections(projections.pixels[0])[0]"
        )

    def _top_projections(
        self, model: nn.Module, layer: str, unit: int, rule: str
    ) -> tuple[deconvnet.TopProjections, Tensor]:
        """A unit's top-activating images and projections, which do not depend on the image."""

        def make() -> tuple[deconvnet.TopProjections, Tensor]:
            top = deconvnet.top_projections(
                model, self.dataset, [layer], k=TOP_COUNT, units={layer: [unit]},
                top_images=self.top_images, rule=rule,
            )[layer]  # fmt: skip
            return top, top.patches(self.dataset)

        return cached(self._projections, (layer, unit, rule), make)
