"""Explorers of pictures that excite units most: by gradient ascent, and with a deep generator."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...core import Float
from ...methods import activation_maximization
from ...models import Model
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .controls import STEP_CHOICES
from .worker import Request, isolated_copy

CELL = 384
# Recipes that divide by each unit's largest activation over a data set need a pass over one first.
RECIPE_CHOICES = [
    name for name, recipe in activation_maximization.RECIPES.items() if recipe.weight is None
]


class ActivationMaximization(Explorer):
    """Any unit of any of the networks given, by any recipe; the picture grows while it is found.

    Args:
        networks: one or several to choose among.
        layer: of the first network, which to begin with; its first convolution by default.
        unit: which to begin with.
        recipe: which to begin with; the default one where it is none of `RECIPES`.
        steps: of the ascent.
    """

    title = "What excites this unit most?"
    alt = "The picture found for one unit."
    slow = True

    def __init__(
        self,
        networks: Model | Sequence[Model],
        *,
        layer: str = "",
        unit: int = 0,
        recipe: str = "default",
        steps: int = 96,
    ) -> None:
        known = [networks] if isinstance(networks, nn.Module) else list(networks)
        self.networks = {model.card.name: model for model in known}
        first, self.units = known[0].card.name, {}
        for name, model in self.networks.items():
            isolated_copy(model)
            asked = [layer] if layer and name == first else []
            shapes = model.layer_shapes(list(dict.fromkeys([*model.default_layers(), *asked])))
            self.units[name] = {word: shape[0] for word, shape in shapes.items()}
        self._offered = dict(self.units[first])
        layer = layer or next(iter(self._offered))
        self._layer, self._unit = controls.layer_and_unit(self._offered, layer, unit)
        network = controls.choice("network", list(self.networks), first)
        network.observe(self._other_network, "value")
        moved = {
            "network": network,
            "layer": self._layer,
            "unit": self._unit,
            "recipe": controls.choice(
                "recipe", RECIPE_CHOICES, recipe if recipe in RECIPE_CHOICES else "default"
            ),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
        }
        if len(known) == 1:
            moved.pop("network")
        super().__init__(known[0], moved)

    def _other_network(self, change: dict) -> None:
        with self.hold_requests():
            self._offered.clear()
            self._offered.update(self.units[change["new"]])
            controls.set_options(self._layer, list(self._offered))
            self._unit.max = self._offered[self._layer.value] - 1

    def network(self, settings: Mapping[str, object]) -> nn.Module:
        """Return the network that is chosen."""
        return self.networks.get(settings.get("network"), self.model)

    def draw(
        self, request: Request, layer: str, unit: int, recipe: str, steps: int, network: str = ""
    ) -> View:
        """Climb from noise."""
        target = f"{layer}:{unit}"

        def view(canvases: Tensor, words: str) -> View:
            y0, x0, y1, x1 = canvas.field
            return View([[Tile(canvases[0, :, y0:y1, x0:x1], target)]], words, CELL)

        canvas = activation_maximization.canvas_for(
            request.model, layer, activation_maximization.RECIPES[recipe]
        )
        drawn = activation_maximization.render(
            request.model,
            [target],
            recipe=recipe,
            steps=steps,
            on_progress=request.progress,
            on_step=lambda canvases: request.preview(lambda: view(canvases, "climbing ...")),
            should_stop=request.should_stop,
        )
        return view(
            drawn.images, describe_activation(request.model, layer, unit, drawn.activations)
        )


def describe_activation(
    model: Model, layer: str, unit: int, activations: Float[Tensor, "1"]
) -> str:
    """Say how strongly a unit answers, and which class it is where it is one."""
    scores = model.layer_aliases[layer] == model.layer_aliases["logits"]
    name = f", {model.card.classes[unit]}," if scores and unit < len(model.card.classes) else ""
    return f"{layer}:{unit}{name} answers {float(activations[0]):.1f} to it"
