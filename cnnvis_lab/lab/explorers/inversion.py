"""Explorers of what features keep of a picture: inverted as they are, or after a change."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from ...core import InputError, features
from ...data import ImageSet
from ...methods import inversion
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .worker import Request

STEP_CHOICES = (20, 50, 100, 200, 400)
CELL = 264
DECODER = "decoder"
ViewOfImages = Callable[[Tensor, str], View]  # from pictures found so far, and words


class Inversion(Explorer):
    """A picture, and one with the same features in a layer.

    Args:
        model: the network.
        pictures: the data set some pictures are offered of; photographs are offered anyway.
        layers: to choose among.
        trained: layer -> the decoder of its codes, such as of `models.decoders.painters`.
        layer: which to begin with; the first by default.
        steps: of the descent.
    """

    title = "What does this layer keep of the picture?"
    alt = "A picture, and beside it one found from its features in one layer."
    slow = True

    def __init__(
        self,
        model: Model,
        pictures: ImageSet | None,
        layers: Sequence[str],
        *,
        trained: Mapping[str, generators.Generator] | None = None,
        layer: str = "",
        steps: int = 100,
    ) -> None:
        self.decoders = dict(trained or {})
        self.chosen = controls.ImageChoice(model.card.input_size, pictures, self._failed)
        methods = [*inversion.RECIPES, *([DECODER] if self.decoders else [])]
        moved = {
            "picture": self.chosen.control,
            "layer": controls.choice("layer", layers, layer or layers[0]),
            "method": controls.choice("method", methods, methods[0]),
            "start": controls.number("start", 0, 0, 999),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
        }
        super().__init__(model, moved, [self.chosen.upload])

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """A decoder draws at once."""
        return {"start", "steps"} if settings["method"] == DECODER else set()

    def draw(
        self, request: Request, picture: str, layer: str, method: str, start: int, steps: int
    ) -> View:
        """Find a picture for the layer's code of the chosen one."""
        image = self.chosen[picture]
        codes = features.extract(request.model, image[None], [layer])

        def view(found: Tensor, text: str) -> View:
            return View([[Tile(image, picture), Tile(found[0], f"from {layer}")]], text, CELL)

        if method == DECODER:
            found = self._decoder(layer).draw(codes[layer])
        else:
            found = optimize_images(request, codes, method, steps, start, view)
        again = features.extract(request.model, found, [layer])[layer]
        error = float(inversion.feature_error(again, codes[layer])[0])
        pixels = float((found[0].cpu() - image).norm() / image.norm())
        text = f"{layer}: features differ by {error:.1%} of their size, pixels by {pixels:.0%}"
        return view(found, text)

    def _decoder(self, layer: str) -> generators.Generator:
        if layer not in self.decoders:
            known = ", ".join(self.decoders)
            raise InputError(f"no decoder reads {layer}; choose {known}, or another method")
        return self.decoders[layer]


def optimize_images(
    request: Request,
    codes: Mapping[str, Tensor],
    recipe: str,
    steps: int,
    start: int,
    view: ViewOfImages,
) -> Tensor:
    """Find pictures (n, 3, h, w) for one layer's codes by descent; show them as they grow."""
    found = inversion.invert(
        request.model,
        codes,
        recipe=recipe,
        steps=steps,
        seed=start,
        on_progress=request.progress,
        on_step=lambda images: request.preview(lambda: view(images, "descending ...")),
        should_stop=request.should_stop,
    )
    return found.images.flatten(0, 2)
