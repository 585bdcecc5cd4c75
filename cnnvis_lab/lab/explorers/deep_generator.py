"""Explorer of activation maximization through a deep generator."""

import torch
from torch import Tensor

from ...core import Float
from ...methods import deep_generator
from ...models import Model, generators
from ..figures import Tile
from . import controls
from .activation_maximization import CELL, describe_activation
from .base import Explorer, View
from .controls import STEP_CHOICES
from .worker import Request


class DeepGenerator(Explorer):
    """A unit or class through a generator that draws natural pictures only.

    Args:
        model: the network whose units are shown.
        generator: draws.
        codes: of a data set's pictures, from `deep_generator.encode`; they set the bounds.
        layer: which to begin with; the one that scores the classes by default.
        unit: which to begin with: a class, in that layer.
        steps: of the ascent.
    """

    title = "What natural picture excites this unit most?"
    alt = "The picture the generator draws from the code found for one unit."
    slow = True

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
        self.generator, self.limits = generator, deep_generator.fit_bounds(codes)
        drawn = torch.randn(1, *codes.shape[1:], generator=torch.Generator().manual_seed(0))
        self.start = drawn * self.limits.scale
        shapes = model.layer_shapes([*model.default_layers()])
        units = {name: shape[0] for name, shape in shapes.items()}
        layers, one = controls.layer_and_unit(units, layer or [*units][-1], unit)
        moved = {
            "layer": layers,
            "unit": one,
            "bounds": controls.switch("bounds", True),
            "noise": controls.slider("start noise", [0.1, 0.3, 1.0, 3.0], 1.0),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
        }
        super().__init__(model, moved)

    def draw(
        self, request: Request, layer: str, unit: int, bounds: bool, noise: float, steps: int
    ) -> View:
        """Climb in the generator's codes, from a start `noise` times as wide as the authors'."""
        target = f"{layer}:{unit}"

        def view(pictures: Tensor, words: str) -> View:
            return View([[Tile(pictures[0], target)]], words, CELL)

        drawn = deep_generator.render(
            request.model,
            self.generator,
            [target],
            self.limits,
            bounded=bounds,
            starts=noise * self.start,
            steps=steps,
            on_progress=request.progress,
            on_step=lambda pictures: request.preview(lambda: view(pictures, "climbing ...")),
            should_stop=request.should_stop,
        )
        return view(
            drawn.images, describe_activation(request.model, layer, unit, drawn.activations)
        )
