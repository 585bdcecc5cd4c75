"""Explorer of inversion: an image, and one reconstructed from its features in one layer."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from torch import Tensor

from ...core import InputError, features
from ...data import ImageSet
from ...methods import inversion
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .board import OPTIMIZING
from .worker import Request

STEP_CHOICES = (20, 50, 100, 200, 400)
CELL = 264  # size of an image on the page, in pixels
DECODER = "decoder"


class Inversion(Explorer):
    """An image, and one with the same features in a layer.

    Args:
        model: the network.
        images: dataset to choose images from; None offers the bundled photographs only.
        layers: layers to choose from; the network's default layers by default.
        decoders: layer -> decoder of its features, such as `models.decoders.decoders_for` gives.
        layer: the first choice; the middle layer by default.
        steps: number of optimization steps.
    """

    title = "What does this layer preserve of the image?"
    alt = "An image, and beside it one reconstructed from its features in one layer."
    imports = (
        "from cnnvis_lab import data, models",
        "from cnnvis_lab.core import features",
        "from cnnvis_lab.core.optimization import Options",
        "from cnnvis_lab.methods import inversion",
    )
    slow = True

    def __init__(
        self,
        model: Model,
        images: ImageSet | None,
        layers: Sequence[str] = (),
        *,
        decoders: Mapping[str, generators.Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders, layers = dict(decoders or {}), list(layers or model.default_layers())
        methods = [*inversion.RECIPES, *([DECODER] if self.decoders else [])]
        settings = {
            "layer": controls.choice("layer", layers, layer or layers[len(layers) // 2]),
            "method": controls.choice("method", methods, methods[0]),
            "start": controls.number("start", 0, 0, 999),
            "steps": controls.steps(steps, STEP_CHOICES),
        }
        super().__init__(model, settings, controls.ImageChoice(model, images))

    def for_network(self, model: Model) -> "Inversion":
        """Return this panel for another network."""
        return Inversion(model, self.chosen.dataset, steps=self.controls["steps"].value)

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """A decoder uses neither a start nor steps."""
        return {"start", "steps"} if settings["method"] == DECODER else set()

    def draw(
        self, request: Request, image: str, layer: str, method: str, start: int, steps: int
    ) -> View:
        """Reconstruct the chosen image from the layer's features.

        Args:
            request: gets progress and previews.
            image: image that is encoded; its thumbnail, or a file of your own.
            layer: dotted name or alias of the layer whose features are inverted.
            method: optimization by a recipe, or a trained decoder.
            start: seed of the random start.
            steps: number of steps of the optimization.
        """
        original = self.chosen[image]
        codes = features.extract(request.model, original[None], [layer])
        first = self.activity.captioned(request.model, image, original)

        def view(inverted: Tensor, text: str, *prediction: str) -> View:
            second = Tile(inverted[0], "\n".join([f"from {layer}", *prediction]))
            return View([[first, second]], text, CELL)

        if method == DECODER:
            inverted = self._decoder(layer).draw(codes[layer])
        else:
            options = request.options(lambda images: view(images, OPTIMIZING), start)
            inverted = inversion.invert(
                request.model, codes, recipe=method, steps=steps, options=options
            ).images.flatten(0, 2)
        reached = features.extract(request.model, inverted, [layer])[layer]
        error = float(inversion.feature_error(reached, codes[layer])[0])
        pixels = float((inverted[0].cpu() - original).norm() / original.norm())
        text = f"{layer}: relative error of the features {error:.1%}, of the pixels {pixels:.0%}"
        return view(inverted, text, *self.activity.prediction(request.model, inverted[0]))

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that inverts the image's features."""
        codes = f"features.extract(model, image[None], [{at.layer!r}])"
        options = f"recipe={at.method!r}, steps={at.steps}, options=Options({at.start})"
        call = f"inversion.invert(model, codes, {options})[{at.layer!r}][0]"
        if at.method == DECODER:
            call = f"decoders[{at.layer!r}].draw(codes[{at.layer!r}])[0]"
        return f"image = {self.chosen.code(at.image)}\ncodes = {codes}\nresult = {call}"

    def _decoder(self, layer: str) -> generators.Generator:
        if layer not in self.decoders:
            known = ", ".join(self.decoders)
            raise InputError(f"no decoder for {layer}; choose {known}, or another method")
        return self.decoders[layer]
