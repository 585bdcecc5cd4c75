"""Explorer of activation maximization through a deep generator."""

from typing import Any

import torch
from torch import Tensor

from ...core import Float, Missing
from ...methods import deep_generator
from ...models import Model, generators
from . import controls
from .activation_maximization import describe_activation, image_view, preview_options
from .base import Explorer, View
from .controls import STEP_CHOICES
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
    """

    title = "Which natural image maximizes this unit's activation?"
    alt = "The image generated for one unit."
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
    ) -> None:
        self.generator, self.bounds = generator, deep_generator.fit_bounds(codes)
        noise = torch.randn(1, *codes.shape[1:], generator=torch.Generator().manual_seed(0))
        self.start = noise * self.bounds.scale
        shapes = model.layer_shapes([*model.default_layers()])
        units = {layer: shape[0] for layer, shape in shapes.items()}
        layers, unit_number = controls.layer_and_unit(units, layer or [*units][-1], unit)
        settings = {
            "layer": layers,
            "unit": unit_number,
            "bounds": controls.switch("bounds", True),
            "noise": controls.slider("start noise", [0.1, 0.3, 1.0, 3.0], 1.0),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
        }
        super().__init__(model, settings)

    def draw(
        self, request: Request, layer: str, unit: int, bounds: bool, noise: float, steps: int
    ) -> View:
        """Optimize the code of the unit's image.

        Args:
            request: the request that is being computed.
            layer: dotted name or alias.
            unit: index of the unit.
            bounds: whether codes are clamped to their bounds.
            noise: standard deviation of the start, relative to the authors'.
            steps: number of steps.
        """
        target = f"{layer}:{unit}"
        rendering = deep_generator.render(
            request.model,
            self.generator,
            [target],
            self.bounds,
            deep_generator.CodeAscent(steps, bounded=bounds),
            starts=noise * self.start,
            options=preview_options(request, target),
        )
        text = describe_activation(request.model, layer, unit, float(rendering.activations[0]))
        return image_view(target, rendering.images[0], text)
