"""Explorer of activation maximization through a deep generator."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...core import Float, Missing
from ...data import ImageSet
from ...methods import deep_generator
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .activation_maximization import IMAGE_SIZE, describe_activation
from .base import Explorer, View
from .board import OPTIMIZING
from .units import UnitGrid, units_of
from .worker import Request


class DeepGenerator(Explorer):
    """A unit or class through a generator of natural images.

    Args:
        model: the network.
        generator: generates images from codes.
        codes: of a dataset's images, from `deep_generator.encode`; they determine the bounds.
        layer: initial layer; the one that scores the classes by default.
        unit: initial unit; a class, in that layer.
        steps: initial number of steps.
        images: dataset to choose images from, on which the unit's activity is shown; None offers
            the bundled photographs only.
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "Which natural image maximizes this unit's activation?"
    alt = "The image generated for one unit."
    imports = (
        "import torch",
        "from cnnvis_lab import models",
        "from cnnvis_lab.methods import deep_generator",
    )
    slow = True

    def __new__(cls, model: Model, generator: object, *_: object, **__: object) -> Any:
        """Return the reason instead of an explorer, if there is no generator."""
        return generator if isinstance(generator, Missing) else super().__new__(cls)

    def __init__(
        self,
        model: Model,
        generator: generators.Generator,
        codes: Float[Tensor, "n ..."],
        *,
        layer: str = "",
        unit: int = 0,
        steps: int = 96,
        images: ImageSet | None = None,
        atlas: str | Path = "",
    ) -> None:
        self.generator, self.bounds = generator, deep_generator.fit_bounds(codes)
        self._codes = codes
        noise = torch.randn(1, *codes.shape[1:], generator=torch.Generator().manual_seed(0))
        self.start = noise * self.bounds.scale
        units = units_of(model, [], layer)
        settings = {
            "bounds": controls.switch("bounds", True),
            "noise": controls.slider("start noise", [0.1, 0.3, 1.0, 3.0], 1.0),
            "steps": controls.steps(steps),
        }
        grid = UnitGrid(units, layer or [*units][-1], unit, atlas=atlas)
        super().__init__(model, settings, controls.ImageChoice(model, images), grid)

    def for_network(self, model: Model) -> "DeepGenerator":
        """Return this panel for another network."""
        dataset, steps = self.chosen.dataset, self.controls["steps"].value
        return DeepGenerator(model, self.generator, self._codes, images=dataset, steps=steps)

    def draw(
        self,
        request: Request,
        layer: str,
        unit: int,
        bounds: bool,
        noise: float,
        steps: int,
        image: str,
    ) -> View:
        """Optimize the code of the unit's image.

        Args:
            request: the request that is being computed.
            layer: dotted name or alias of the layer.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            bounds: whether codes are clamped to their bounds.
            noise: standard deviation of the start, relative to the authors'.
            steps: number of steps of the ascent.
            image: image on which the unit's activity is shown, and the network's prediction.
        """
        target, model, activity = f"{layer}:{unit}", request.model, self.activity
        own = activity.tile(model, layer, unit, image, self.chosen[image])

        def view(images: Tensor, text: str = OPTIMIZING, *prediction: str) -> View:
            tile = Tile(images[0], "\n".join([target, *prediction]))
            return View([[tile, own]], text, IMAGE_SIZE)

        rendering = deep_generator.render(
            model,
            self.generator,
            [target],
            self.bounds,
            deep_generator.CodeAscent(steps, bounded=bounds),
            starts=noise * self.start,
            options=request.options(view),
        )
        text = describe_activation(model, layer, unit, float(rendering.activations[0]))
        prediction = activity.prediction(model, rendering.images[0])
        return view(rendering.images, text, *prediction)

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that optimizes the code."""
        return f"""bounds = deep_generator.fit_bounds(codes)
start = torch.randn(1, *codes.shape[1:], generator=torch.Generator().manual_seed(0))
rendering = deep_generator.render(
    model, generator, ["{at.layer}:{at.unit}"], bounds,
    deep_generator.CodeAscent({at.steps}, bounded={at.bounds}),
    starts={at.noise} * bounds.scale * start,
)
result = rendering.images[0]"""
