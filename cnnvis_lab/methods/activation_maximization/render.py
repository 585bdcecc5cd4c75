"""Gradient ascent on images: render images that maximize units, channels or directions."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, choose, image_metrics, with_gradients
from ...core.optimization import (
    DEFAULT_OPTIONS,
    AscentResult,
    NoGradientError,
    Options,
    objectives,
)
from ...data.images import Size, height_and_width
from ...models import Model
from .canvas import Canvas, canvas_for
from .recipes import RECIPES, Recipe

TRIED_STARTS = 4  # if all units are inactive on their start
SCOPES = ("field", "input", "channel")
# Steps at which to keep the images of an ascent: dense at its beginning, where they change most.
SNAPSHOT_STEPS = (0, 1, 2, 4, 6, 9, 14, 19, 29, 48, 72)


@dataclass(frozen=True)
class Rendering:
    """Images that maximize units of a network.

    Attributes:
        targets: "layer:unit" of each image, or "layer direction n".
        images: (n, channels, h, w) in [0, 1] unless the recipe is unbounded.
        activations: activation of each target on its image.
        history: (steps, n) objective at every step, including regularizer and transformations; for
            a generator, the unit's activation or log probability.
        snapshots: step -> images before that step.
        interrupted: whether the ascent was stopped early.
        canvas: size of the images, and position of the units.
        codes: (n, *code) codes of images made by a generator; None for others.
    """

    targets: tuple[str, ...]
    images: Images
    activations: Float[Tensor, " n"]
    history: Float[Tensor, "steps n"]
    snapshots: dict[int, Tensor]
    interrupted: bool
    canvas: Canvas
    codes: Float[Tensor, "n ..."] | None = None

    @property
    def patches(self) -> Float[Tensor, "n c rows columns"]:
        """The images, cropped to the units' receptive fields."""
        return self.canvas.crop(self.images)

    def complexity(self) -> float:
        """Return the mean `core.image_metrics.complexity` of the patches."""
        return image_metrics.complexity(self.patches).mean().item()


@with_gradients
def render(
    model: Model,
    targets: Sequence[str],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    scope: str = "field",
    starts: Images | None = None,
    diversity: float = 0.0,
    options: Options = DEFAULT_OPTIONS,
) -> Rendering:
    """Render images that maximize units of one layer.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer; a unit may occur several times.
        recipe: a name in `RECIPES`, or a recipe of your own.
        steps: total number of steps, distributed over the recipe's phases; the recipe's own by
            default.
        scope: "field" maximizes a unit on a canvas of its receptive field, "input" the unit in the
            middle of the network's full input, "channel" the mean of its map on the full input.
        starts: (n, channels, h, w) images to start from, resized to the canvas; noise by default.
        diversity: weight of the dissimilarity between the images, to render facets of one unit.
        options: seeds, memory limit, snapshots (of the first phase) and callbacks.

    Raises:
        InputError: targets of several layers, or a unit out of range.
        NoGradientError: all units are inactive on their starts, and on others.
        NameNotFound: an unknown layer or recipe.

    Source: Erhan et al. 2009; Simonyan et al. 2013; survey section 3, figures F1 to F3.
    """
    if scope not in SCOPES:
        raise InputError(f"scope {scope!r}: expected {', '.join(SCOPES)}")
    layer, units = objectives.parse_targets(targets)
    recipe = choose("recipe", recipe, RECIPES).with_steps(steps)
    canvas = canvas_for(model, layer, recipe, full_input=scope != "field")
    if canvas.position is None or scope == "channel":
        activation = objectives.channel(layer, units)
    else:
        activation = objectives.neuron(layer, units, canvas.position)
    objective = recipe.weigh(activation, canvas.field_pixels) if recipe.weigh else activation
    if diversity:
        objective = objective + diversity * objectives.diversity(layer, len(units))
    if starts is None:
        starts = options.start_seeds(len(units))
    result = _optimize(model, objective, recipe, canvas.size, starts, options)
    return _rendering(model, tuple(targets), activation, canvas, result)


def render_layers(
    model: Model, units: Mapping[str, Sequence[int]], **settings: Any
) -> dict[str, Rendering]:
    """Render units of several layers.

    Args:
        model: the network.
        units: layer -> its units.
        **settings: as for `render`.

    Returns:
        layer -> images of its units.
    """
    return {
        layer: render(model, [f"{layer}:{unit}" for unit in own], **settings)
        for layer, own in units.items()
    }


def render_recipes(
    model: Model, targets: Sequence[str], recipes: Sequence[str], **settings: Any
) -> dict[str, Rendering]:
    """Render the same units by several recipes.

    Args:
        model: the network.
        targets: as for `render`.
        recipes: names in `RECIPES`.
        **settings: as for `render`.

    Returns:
        recipe -> images of the units.
    """
    return {recipe: render(model, targets, recipe=recipe, **settings) for recipe in recipes}


@with_gradients
def render_directions(
    model: Model,
    layer: str,
    vectors: Float[Tensor, "n units"],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Rendering:
    """Render images that maximize directions in a layer's activation space.

    Args:
        model: the network.
        layer: dotted name or alias.
        vectors: one direction per image.
        recipe: as in `render`.
        steps: as in `render`.
        options: as in `render`.

    Source: Olah, Mordvintsev and Schubert 2017, "Directions in activation space".
    """
    recipe = choose("recipe", recipe, RECIPES).with_steps(steps)
    canvas = canvas_for(model, layer, recipe)
    projection = objectives.direction(layer, vectors, canvas.position)
    seeds = options.start_seeds(len(vectors))
    result = _optimize(model, projection, recipe, canvas.size, seeds, options)
    names = tuple(f"{layer} direction {n}" for n in range(len(vectors)))
    return _rendering(model, names, projection, canvas, result)


def _optimize(
    model: Model,
    objective: objectives.Objective,
    recipe: Recipe,
    size: Size,
    starts: Images | Sequence[int],
    options: Options,
) -> AscentResult:
    """Run a recipe, starting from given images or from noise with given seeds."""
    if recipe.regularizer:
        objective = objective - recipe.regularizer
    sized = recipe.for_size(size)
    if isinstance(starts, Tensor):
        shape = height_and_width(size)
        resized = functional.interpolate(starts, size=shape, mode="bilinear", antialias=True)
        space = recipe.start_from(resized.to(model.device))
        return sized.run(model, objective, space, options)
    for attempt in range(TRIED_STARTS - 1):
        seeds = [seed + 10_007 * attempt for seed in starts]
        with suppress(NoGradientError):  # all units are inactive on their starts
            space = recipe.start(seeds, size, model.device, model.channels)
            return sized.run(model, objective, space, options)
    space = recipe.start(starts, size, model.device, model.channels)
    return sized.run(model, objective, space, options)


def _rendering(
    model: Model,
    targets: tuple[str, ...],
    activation: objectives.Objective,
    canvas: Canvas,
    result: AscentResult,
) -> Rendering:
    return Rendering(
        targets,
        result.images,
        objectives.score_images(activation, model, result.images),
        result.history,
        result.snapshots,
        result.interrupted,
        canvas,
    )
