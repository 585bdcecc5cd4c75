"""Explorer of activation maximization."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor, nn

from ...data import ImageSet
from ...methods import activation_maximization
from ...models import Model
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .board import OPTIMIZING
from .units import UnitGrid, units_of
from .worker import Request, cached, isolated_copy

IMAGE_SIZE = 220


class ActivationMaximization(Explorer):
    """Any unit of one or several networks, by any recipe; shows the image during the ascent.

    Args:
        networks: one network, or several to choose from.
        images: dataset to choose images from, on which the unit's activity is shown; None offers
            the bundled photographs only.
        layer: initial layer, of the first network; its first convolution by default.
        unit: initial unit.
        recipe: initial recipe; the default one if no recipe has that name.
        steps: initial number of steps.
        atlas: folder of an atlas of the network; by default that of `cnnvis atlas`, if any.
    """

    title = "Which image maximizes this unit's activation?"
    alt = "The image rendered for one unit, and the unit's activity on another image."
    imports = (
        "from cnnvis_lab import models",
        "from cnnvis_lab.methods import activation_maximization",
    )
    slow = True

    def __init__(
        self,
        networks: Model | Sequence[Model],
        images: ImageSet | None = None,
        *,
        layer: str = "",
        unit: int = 0,
        recipe: str = "default",
        steps: int = 96,
        atlas: str | Path = "",
    ) -> None:
        models = [networks] if isinstance(networks, Model) else list(networks)
        first = models[0]
        self.networks = {model.card.name: model for model in models}
        for model in models:
            isolated_copy(model)
        self._layers = {
            name: units_of(model, [], layer if model is first else "")
            for name, model in self.networks.items()
        }
        self._rendered: dict[tuple, tuple[Tensor, float]] = {}
        recipes = list(activation_maximization.RECIPES)
        recipe = recipe if recipe in recipes else "default"
        settings = {
            "recipe": controls.choice("recipe", recipes, recipe),
            "steps": controls.steps(steps),
        }
        if len(models) > 1:
            settings["network"] = controls.choice("network", list(self.networks), first.card.name)
            settings["network"].observe(self._offer_layers, "value")
        units = self._layers[first.card.name]
        grid = UnitGrid(units, layer or next(iter(units)), unit, atlas=atlas)
        super().__init__(first, settings, controls.ImageChoice(first, images), grid)

    def _offer_layers(self, change: dict) -> None:
        """Offer the layers and units of a newly chosen network."""
        with self.hold_requests():
            self._grid.offer(self._layers[change["new"]])

    def network(self, settings: Mapping[str, object]) -> nn.Module:
        """Return the chosen network."""
        return self.networks.get(str(settings.get("network")), self.model)

    def for_network(self, model: Model) -> "ActivationMaximization":
        """Return this panel for another network."""
        others = [other for other in self.networks.values() if other.card.name != model.card.name]
        dataset, steps = self.chosen.dataset, self.controls["steps"].value
        layers = [*model.default_layers()]
        middle = layers[len(layers) // 2]
        return ActivationMaximization([model, *others], dataset, layer=middle, steps=steps)

    def draw(
        self,
        request: Request,
        layer: str,
        unit: int,
        recipe: str,
        steps: int,
        image: str,
        network: str = "",
    ) -> View:
        """Render the unit from noise.

        Args:
            request: the request that is being computed.
            layer: dotted name or alias of the layer.
            unit: index of the unit; also chosen in the grid, by click or arrow keys.
            recipe: optimization as a paper describes it.
            steps: number of steps of the ascent.
            image: image on which the unit's activity is shown, and the network's prediction.
            network: the network of the unit.
        """
        target, model = f"{layer}:{unit}", request.model
        activity = self.activity.tile(model, layer, unit, image, self.chosen[image])
        canvas = activation_maximization.canvas_for(
            model, layer, activation_maximization.RECIPES[recipe]
        )

        def view(patch: Tensor, text: str = OPTIMIZING) -> View:
            return View([[Tile(patch, target), activity]], text, IMAGE_SIZE)

        def render() -> tuple[Tensor, float]:
            options = request.options(lambda images: view(canvas.crop(images)[0]))
            rendering = activation_maximization.render(
                model, [target], recipe=recipe, steps=steps, options=options
            )
            return rendering.patches[0], float(rendering.activations[0])

        key = (network, target, recipe, steps)
        patch, activation = cached(self._rendered, key, render, request)
        return view(patch, describe_activation(model, layer, unit, activation))

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that renders the unit."""
        options = f"recipe={at.recipe!r}, steps={at.steps}"
        call = f'activation_maximization.render(model, ["{at.layer}:{at.unit}"], {options})'
        return f"rendering = {call}\nresult = rendering.patches[0]"


def describe_activation(model: Model, layer: str, unit: int, activation: float) -> str:
    """Return a line of text with a unit's activation, and its class if it scores one.

    Args:
        model: the network.
        layer: dotted name or alias.
        unit: index of the unit.
        activation: on the image that is shown.
    """
    class_name = model.unit_class(layer, unit)
    label = f" ({class_name})" if class_name else ""
    return f"activation of {layer}:{unit}{label}: {activation:.1f}"
