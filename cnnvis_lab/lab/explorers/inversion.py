"""Explorer of inversion: an image, and one reconstructed from its features in one layer."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ...core import InputError, features
from ...core.optimization import Options
from ...data import ImageSet
from ...methods import inversion
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request

STEP_CHOICES = (20, 50, 100, 200, 400)
CELL = 264  # size of an image on the page, in pixels
DECODER = "decoder"
ViewOf = Callable[[Tensor, str], View]  # view of images and a text


class Inversion(Explorer):
    """An image, and one with the same features in a layer.

    Args:
        model: the network.
        images: dataset to choose images from; None offers the bundled photographs only.
        layers: layers to choose from.
        decoders: layer -> decoder of its features, such as `models.decoders.decoders_for` gives.
        layer: the first choice; the middle layer by default.
        steps: number of optimization steps.
    """

    title = "What does this layer preserve of the image?"
    alt = "An image, and beside it one reconstructed from its features in one layer."
    slow = True

    def __init__(
        self,
        model: Model,
        images: ImageSet | None,
        layers: Sequence[str],
        *,
        decoders: Mapping[str, generators.Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders = dict(decoders or {})
        self.images = controls.ImageChoice(model.card.input_size, images, self._show_error)
        methods = [*inversion.RECIPES, *([DECODER] if self.decoders else [])]
        settings = {
            "image": self.images.control,
            "layer": controls.choice("layer", layers, layer or layers[len(layers) // 2]),
            "method": controls.choice("method", methods, methods[0]),
            "start": controls.number("start", 0, 0, 999),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
        }
        super().__init__(model, settings, [self.images.upload])

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """A decoder uses neither a start nor steps."""
        return {"start", "steps"} if settings["method"] == DECODER else set()

    def draw(
        self, request: Request, image: str, layer: str, method: str, start: int, steps: int
    ) -> View:
        """Reconstruct the chosen image from the layer's features.

        Args:
            request: gets progress and previews.
            image: name of the image.
            layer: the layer to invert.
            method: a name in `inversion.RECIPES`, or "decoder".
            start: seed of the random start.
            steps: number of optimization steps.
        """
        original = self.images[image]
        codes = features.extract(request.model, original[None], [layer])

        def view(inverted: Tensor, text: str) -> View:
            return View([[Tile(original, image), Tile(inverted[0], f"from {layer}")]], text, CELL)

        if method == DECODER:
            inverted = self._decoder(layer).draw(codes[layer])
        else:
            inverted = optimize_images(request, codes, method, steps, start, view)
        reached = features.extract(request.model, inverted, [layer])[layer]
        error = float(inversion.feature_error(reached, codes[layer])[0])
        pixels = float((inverted[0].cpu() - original).norm() / original.norm())
        text = f"{layer}: relative error of the features {error:.1%}, of the pixels {pixels:.0%}"
        return view(inverted, text)

    def _decoder(self, layer: str) -> generators.Generator:
        if layer not in self.decoders:
            known = ", ".join(self.decoders)
            raise InputError(f"no decoder for {layer}; choose {known}, or another method")
        return self.decoders[layer]


def optimize_images(
    request: Request,
    codes: Mapping[str, Tensor],
    recipe: str,
    steps: int,
    start: int,
    view: ViewOf,
) -> Tensor:
    """Invert one layer's codes by optimization, with a preview of the images as they develop.

    Args:
        request: gets progress and previews.
        codes: layer -> (n, ...) features, of one layer.
        recipe: a name in `inversion.RECIPES`.
        steps: number of optimization steps.
        start: seed of the random start.
        view: makes the preview of images and a text.

    Returns:
        (n, 3, h, w).
    """
    result = inversion.invert(
        request.model,
        codes,
        recipe=recipe,
        steps=steps,
        options=Options(
            start,
            on_progress=request.progress,
            on_step=lambda images: request.preview(lambda: view(images, "optimizing ...")),
            should_stop=request.should_stop,
        ),
    )
    return result.images.flatten(0, 2)
