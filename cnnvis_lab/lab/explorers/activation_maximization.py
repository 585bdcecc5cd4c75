"""Explorer of activation maximization."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from torch import Tensor, nn

from ...core.optimization import Options
from ...data import ImageSet
from ...methods import activation_maximization, unit_profile
from ...models import Model
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .controls import STEP_CHOICES
from .units import UnitGrid
from .worker import Request, cached_unless_stopped, isolated_copy

IMAGE_SIZE = 220
OPTIMIZING = "optimizing ..."


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
        atlas: folder of an atlas of the network, with images of all units.
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
        self.units: dict[str, dict[str, int]] = {}
        for name, model in self.networks.items():
            isolated_copy(model)
            extra = [layer] if layer and model is first else []
            shapes = model.layer_shapes(list(dict.fromkeys([*model.default_layers(), *extra])))
            self.units[name] = {layer: shape[0] for layer, shape in shapes.items()}
        self._offered = dict(self.units[first.card.name])
        layer = layer or next(iter(self._offered))
        self._layer, self._unit = controls.layer_and_unit(self._offered, layer, unit)
        self._grid = UnitGrid(self._unit, atlas=atlas)
        self._rendered: dict[tuple, tuple[Tensor, float]] = {}
        self.chosen = controls.ImageChoice.of(first, images, self._show_error)
        network = controls.choice("network", list(self.networks), first.card.name)
        network.observe(self._offer_layers, "value")
        recipes = list(activation_maximization.RECIPES)
        recipe = recipe if recipe in recipes else "default"
        settings = {
            "network": network,
            "layer": self._layer,
            "unit": self._unit,
            "recipe": controls.choice("recipe", recipes, recipe),
            "steps": controls.slider("steps", controls.with_value(STEP_CHOICES, steps), steps),
            "image": self.chosen.control,
        }
        if len(models) == 1:
            settings.pop("network")
        super().__init__(first, settings, self.chosen, self._grid)

    def _offer_layers(self, change: dict) -> None:
        """Offer the layers and units of a newly chosen network."""
        with self.hold_requests():
            self._offered.clear()
            self._offered.update(self.units[change["new"]])
            controls.set_options(self._layer, list(self._offered))
            self._unit.max = self._offered[self._layer.value] - 1

    def network(self, settings: Mapping[str, object]) -> nn.Module:
        """Return the chosen network."""
        return self.networks.get(str(settings.get("network")), self.model)

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
        activity = self._grid.activity.tile(model, layer, unit, image, self.chosen[image])
        options = preview_options(
            request,
            lambda images: View([[Tile(images[0], target), activity]], OPTIMIZING, IMAGE_SIZE),
            activation_maximization.canvas_for(
                model, layer, activation_maximization.RECIPES[recipe]
            ),
        )

        def render() -> tuple[Tensor, float]:
            rendering = activation_maximization.render(
                model, [target], recipe=recipe, steps=steps, options=options
            )
            return rendering.patches[0], float(rendering.activations[0])

        key = (network, target, recipe, steps)
        patch, activation = cached_unless_stopped(self._rendered, key, render, request)
        text = describe_activation(model, layer, unit, activation)
        return View([[Tile(patch, target), activity]], text, IMAGE_SIZE)

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return the call that renders the unit."""
        options = f"recipe={at.recipe!r}, steps={at.steps}"
        call = f'activation_maximization.render(model, ["{at.layer}:{at.unit}"], {options})'
        return f"rendering = {call}\nresult = rendering.patches[0]"


def preview_options(
    request: Request,
    view: Callable[[Tensor], View],
    canvas: activation_maximization.Canvas | None = None,
) -> Options:
    """Return options of an ascent that shows its image to a request while it runs.

    Args:
        request: the request that is being computed.
        view: makes the view of the images.
        canvas: to show only the unit's receptive field.
    """

    def on_step(images: Tensor) -> None:
        request.preview(lambda: view(canvas.crop(images) if canvas else images))

    return Options(on_progress=request.progress, on_step=on_step, should_stop=request.should_stop)


def describe_activation(model: Model, layer: str, unit: int, activation: float) -> str:
    """Return a line of text with a unit's activation, and its class if it scores one.

    Args:
        model: the network.
        layer: dotted name or alias.
        unit: index of the unit.
        activation: on the image that is shown.
    """
    class_name = unit_profile.unit_class(model, layer, unit)
    label = f" ({class_name})" if class_name else ""
    return f"activation of {layer}:{unit}{label}: {activation:.1f}"
