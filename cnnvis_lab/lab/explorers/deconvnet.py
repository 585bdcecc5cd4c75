"""Panel for DeconvNet: which part of an image activates a unit?"""

from collections.abc import Hashable, Mapping, Sequence

from torch import Tensor, nn

from ...core.backward import RULES
from ...core.statistics import TopK
from ...data import ImageSet
from ...methods import deconvnet, evaluation
from ...models import Model
from .. import figures
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request, cached

TOP_COUNT = 9
CELL_PIXELS = 264


class DeconvNet(Explorer):
    """A unit's projection on an image, above its nine top-activating images.

    Args:
        model: the network.
        dataset: the images.
        layers: layers to choose from.
        top_images: layer -> the result of an earlier pass over the images; None for a pass now.
        unit: initial unit, of the last of the layers.
        rule: initial rule, a key of `core.backward.RULES`.
    """

    title = "Which part of this image activates this unit?"
    alt = "An image and a unit's projection on it, above the unit's nine top-activating images."

    def __init__(
        self,
        model: Model,
        dataset: ImageSet,
        layers: Sequence[str],
        *,
        top_images: Mapping[str, TopK] | None = None,
        unit: int = 0,
        rule: str = "deconvnet",
    ) -> None:
        self.dataset = dataset
        self.top_images = top_images or evaluation.top_images(
            model, layers, dataset.batches(32), TOP_COUNT
        )
        self._projections: dict[Hashable, tuple[deconvnet.TopProjections, Tensor]] = {}
        self.chosen = controls.ImageChoice(model.card.input_size, dataset, self._show_error)
        units = {layer: len(self.top_images[layer].values) for layer in layers}
        layer_control, unit_control = controls.layer_and_unit(units, layers[-1], unit)
        settings = {
            "image": self.chosen.control,
            "layer": layer_control,
            "unit": unit_control,
            "rule": controls.choice("rule", list(RULES), rule),
        }
        super().__init__(model, settings, [self.chosen.upload])

    def draw(self, request: Request, image: str, layer: str, unit: int, rule: str) -> View:
        """Project the unit's highest activation on the image, and on its top-activating images.

        Args:
            request: the request, with its network.
            image: name of the image.
            layer: dotted name or alias.
            unit: index of the unit.
            rule: a key of `core.backward.RULES`.
        """
        target, pixels = f"{layer}:{unit}", self.chosen[image]
        device = next(request.model.parameters()).device
        result = deconvnet.project(request.model, pixels[None].to(device), target, rule=rule)
        activation = float(result.activations[0, 0])
        top, patches = self._top_projections(request.model, layer, unit, rule)
        projection = figures.normalize_projections(result.pixels[0])[0]
        projections = figures.normalize_projections(top.projections[0])
        rows = [
            [Tile(pixels, image), Tile(projection, f"projection of {target}")],
            [
                Tile(figures.mosaic(patches[0]), f"top-activating images of {target}"),
                Tile(figures.mosaic(projections), "their projections"),
            ],
        ]
        inactive = "" if activation > 0 else ": the unit is inactive here, and nothing is projected"
        highest = float(top.activations[0, 0])
        text = f"activation of {target} on {image}: {activation:.1f}"
        text += f" (maximum in the dataset: {highest:.1f})"
        return View(rows, text + inactive, CELL_PIXELS)

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
