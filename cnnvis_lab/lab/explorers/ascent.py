"""Explorers of pictures that excite units most: by gradient ascent, and with a deep generator."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.shapes import Float
from ...methods import activation_maximization as am
from ...methods import deep_generator as dgn
from ...methods import one_unit
from ...models import Model
from ...models.generators import Generator
from ..explore import Explorer, View
from ..requests import Job, guarded
from ..tiles import Tile
from . import controls

STEPS = (8, 16, 32, 64, 96, 128, 256, 512)
CELL = 384
# Recipes that divide by each unit's largest activation over a data set need a pass over one first.
RECIPES = [name for name, recipe in am.RECIPES.items() if recipe.weight is None]


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
            guarded(model)
            asked = [layer] if layer and name == first else []
            self.units[name] = one_unit.units_of(
                model, list(dict.fromkeys([*model.tour(), *asked]))
            )
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
                "recipe", RECIPES, recipe if recipe in RECIPES else "default"
            ),
            "steps": controls.slider("steps", controls.with_value(STEPS, steps), steps),
        }
        if len(known) == 1:
            moved.pop("network")
        super().__init__(known[0], moved)

    def _other_network(self, change: dict) -> None:
        with self.held():
            self._offered.clear()
            self._offered.update(self.units[change["new"]])
            controls.refill(self._layer, list(self._offered))
            self._unit.max = self._offered[self._layer.value] - 1

    def network(self, settings: Mapping[str, object]) -> nn.Module:
        """Return the network that is chosen."""
        return self.networks.get(settings.get("network"), self.model)

    def draw(
        self, job: Job, layer: str, unit: int, recipe: str, steps: int, network: str = ""
    ) -> View:
        """Climb from noise."""
        target = f"{layer}:{unit}"

        def view(canvases: Tensor, words: str) -> View:
            y0, x0, y1, x1 = canvas.field
            return View([[Tile(canvases[0, :, y0:y1, x0:x1], target)]], words, CELL)

        canvas = am.canvas_for(job.model, layer, am.RECIPES[recipe])
        drawn = am.render(
            job.model,
            [target],
            recipe=recipe,
            steps=steps,
            progress=job.progress,
            look=lambda canvases: job.show(lambda: view(canvases, "climbing ...")),
            should_stop=job.ending,
        )
        return view(drawn.images, _answer(job.model, layer, unit, drawn.activations))


def _answer(model: Model, layer: str, unit: int, activations: Float[Tensor, "1"]) -> str:
    """Say how strongly a unit answers, and which class it is where it is one."""
    scores = model.layer_aliases[layer] == model.layer_aliases["logits"]
    name = f", {model.card.classes[unit]}," if scores and unit < len(model.card.classes) else ""
    return f"{layer}:{unit}{name} answers {float(activations[0]):.1f} to it"


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
        generator: Generator,
        codes: Float[Tensor, "n ..."],
        *,
        layer: str = "",
        unit: int = 0,
        steps: int = 96,
    ) -> None:
        self.generator, self.limits = generator, dgn.bounds(codes)
        drawn = torch.randn(1, *codes.shape[1:], generator=torch.Generator().manual_seed(0))
        self.start = drawn * self.limits.unit
        units = one_unit.units_of(model, [*model.tour()])
        layers, one = controls.layer_and_unit(units, layer or [*units][-1], unit)
        moved = {
            "layer": layers,
            "unit": one,
            "bounds": controls.switch("bounds", True),
            "noise": controls.slider("start noise", [0.1, 0.3, 1.0, 3.0], 1.0),
            "steps": controls.slider("steps", controls.with_value(STEPS, steps), steps),
        }
        super().__init__(model, moved)

    def draw(self, job: Job, layer: str, unit: int, bounds: bool, noise: float, steps: int) -> View:
        """Climb in the generator's codes, from a start `noise` times as wide as the authors'."""
        target = f"{layer}:{unit}"

        def view(pictures: Tensor, words: str) -> View:
            return View([[Tile(pictures[0], target)]], words, CELL)

        drawn = dgn.render(
            job.model,
            self.generator,
            [target],
            self.limits,
            bounded=bounds,
            starts=noise * self.start,
            steps=steps,
            progress=job.progress,
            look=lambda pictures: job.show(lambda: view(pictures, "climbing ...")),
            should_stop=job.ending,
        )
        return view(drawn.images, _answer(job.model, layer, unit, drawn.activations))
