"""Explorer of activation maximization."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from ...core.optimization import Options
from ...methods import activation_maximization, unit_profile
from ...models import Model
from ..figures import Tile
from . import controls
from .base import Explorer, View
from .controls import STEP_CHOICES
from .worker import Request, isolated_copy

IMAGE_SIZE = 384
OPTIMIZING = "optimizing ..."


class ActivationMaximization(Explorer):
    """Any unit of one or several networks, by any recipe; shows the image during the ascent.

    Args:
        networks: one network, or several to choose from.
        layer: initial layer, of the first network; its first convolution by default.
        unit: initial unit.
        recipe: initial recipe; the default one if no recipe has that name.
        steps: initial number of steps.
    """

    title = "Which image maximizes this unit's activation?"
    alt = "The image rendered for one unit."
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
        }
        if len(models) == 1:
            settings.pop("network")
        super().__init__(first, settings)

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
        self, request: Request, layer: str, unit: int, recipe: str, steps: int, network: str = ""
    ) -> View:
        """Render the unit from noise.

        Args:
            request: the request that is being computed.
            layer: dotted name or alias.
            unit: index of the unit.
            recipe: name of the recipe.
            steps: number of steps.
            network: name of the network, if there are several.
        """
        target = f"{layer}:{unit}"
        canvas = activation_maximization.canvas_for(
            request.model, layer, activation_maximization.RECIPES[recipe]
        )
        rendering = activation_maximization.render(
            request.model,
            [target],
            recipe=recipe,
            steps=steps,
            options=preview_options(request, target, canvas),
        )
        text = describe_activation(request.model, layer, unit, float(rendering.activations[0]))
        return image_view(target, rendering.patches[0], text)


def image_view(target: str, image: Tensor, text: str) -> View:
    """Return a view of one large image.

    Args:
        target: "layer:unit", shown below the image.
        image: (3, h, w) in [0, 1].
        text: line of text below the view.
    """
    return View([[Tile(image, target)]], text, IMAGE_SIZE)


def preview_options(
    request: Request, target: str, canvas: activation_maximization.Canvas | None = None
) -> Options:
    """Return options of an ascent that shows its image to a request while it runs.

    Args:
        request: the request that is being computed.
        target: "layer:unit".
        canvas: to show only the unit's receptive field.
    """

    def on_step(images: Tensor) -> None:
        patches = canvas.crop(images) if canvas else images
        request.preview(lambda: image_view(target, patches[0], OPTIMIZING))

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
