"""Activation maximization: pictures that excite a unit most, found by gradient ascent.

x* = argmax_x a(x) - lambda(x), where a is the unit's activation and lambda a regulariser (survey,
section 3). Many units of a layer are rendered in one batch, each image with an optimisation of its
own; both passes stop at the layer, and a convolutional unit is rendered on a canvas just large
enough for its receptive field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError
from ...core.optimization import (
    GIBIBYTE,
    AscentResult,
    Options,
    objectives,
    transforms,
)
from ...models import Model
from . import recipes
from .canvas import Canvas, canvas_for
from .recipes import Recipe


@dataclass(frozen=True)
class Rendering:
    """Pictures of units.

    Attributes:
        targets: "layer:unit" of each, or "layer direction n".
        images: (n, 3, size, size) whole canvases, in [0, 1] unless the recipe is unbounded.
        patches: (n, 3, h, w) what the units see of them.
        activations: what each unit answers to its picture as it is.
        history: (steps, n) score at every step, regulariser and transformations included.
        snapshots: step -> images.
        canvas: where they were drawn.
        interrupted: whether the ascent was stopped early.
    """

    targets: tuple[str, ...]
    images: Images
    patches: Float[Tensor, "n 3 rows columns"]
    activations: Float[Tensor, " n"]
    history: Float[Tensor, "steps n"]
    snapshots: dict[int, Tensor]
    canvas: Canvas
    interrupted: bool


def render(
    model: Model,
    targets: Sequence[str],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    whole_channel: bool = False,
    full_canvas: bool = False,
    starts: Images | None = None,
    seeds: Sequence[int] | None = None,
    diversity: float = 0.0,
    largest: Float[Tensor, " n"] | None = None,
    seed: int = 0,
    memory_limit: int = GIBIBYTE,
    snapshots: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[Tensor], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendering:
    """Render what excites units of one layer most.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer; a unit may stand there several times.
        recipe: a name in `RECIPES`, or one of your own.
        steps: instead of the recipe's, shared out over its phases.
        whole_channel: maximise the mean of the unit's map on the network's whole input.
        full_canvas: draw on the network's whole input, the unit in the middle.
        starts: (n, 3, h, w) pictures to begin with, resized to the canvas.
        seeds: one for the start of each picture; `seed` for all by default.
        diversity: weight of the pictures' unlikeness to each other, for facets of one unit.
        largest: each unit's largest activation over a data set; some recipes divide by it.
        seed: of the transformations.
        memory_limit: bytes one pass may take.
        snapshots: steps of the first phase at which the images are kept.
        on_progress: called with (steps done, steps in all) of each phase.
        on_step: called after each step with the canvases as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: targets of several layers, a unit out of range, no gradient.
        NameNotFound: an unknown layer or recipe.

    Source: Erhan et al. 2009; Simonyan et al. 2013; survey section 3, figures F1 to F3.
    """
    layer, units = objectives.parse_targets(targets)
    recipe = recipes.get_recipe(recipe).with_steps(steps)
    canvas = canvas_for(model, layer, recipe, full_canvas or whole_channel)
    if canvas.position is None or whole_channel:
        activation = objectives.channel(layer, units)
    else:
        activation = objectives.neuron(layer, units, canvas.position)
    score = _divide_by_largest(activation, recipe, canvas, largest)
    if diversity:
        score = score + diversity * objectives.diversity(layer, len(units))
    options = Options(seed, seeds, memory_limit, snapshots, on_progress, on_step, should_stop)
    trace = _optimize(model, score, recipe, canvas, len(units), starts, options)
    return _rendering(tuple(targets), trace, _final_scores(model, activation, trace.images), canvas)


def render_directions(
    model: Model,
    layer: str,
    vectors: Float[Tensor, "n units"],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
    memory_limit: int = GIBIBYTE,
) -> Rendering:
    """Render what excites directions of a layer's activation space most.

    Args:
        model: the network.
        layer: dotted name or alias.
        vectors: one direction per picture, as long as the layer has units.
        recipe: as in `render`.
        steps: as in `render`.
        seed: of starts and transformations.
        memory_limit: bytes one pass may take.

    Source: Olah, Mordvintsev and Schubert 2017, "Directions in activation space".
    """
    recipe = recipes.get_recipe(recipe).with_steps(steps)
    canvas = canvas_for(model, layer, recipe, False)
    score = objectives.direction(layer, vectors, canvas.position)
    options = Options(seed, memory_limit=memory_limit)
    trace = _optimize(model, score, recipe, canvas, len(vectors), None, options)
    reached = _final_scores(model, score, trace.images)
    names = tuple(f"{layer} direction {n}" for n in range(len(vectors)))
    return _rendering(names, trace, reached, canvas)


def _rendering(
    targets: tuple[str, ...], trace: AscentResult, reached: Tensor, canvas: Canvas
) -> Rendering:
    y0, x0, y1, x1 = canvas.field
    patches = trace.images[..., y0:y1, x0:x1]
    return Rendering(
        targets,
        trace.images,
        patches,
        reached,
        trace.history,
        trace.snapshots,
        canvas,
        trace.interrupted,
    )


def _divide_by_largest(
    score: objectives.Objective, recipe: Recipe, canvas: Canvas, largest: Tensor | None
) -> objectives.Objective:
    """Divide by each unit's largest activation where the recipe weighs units by it."""
    if recipe.weight is None:
        return score
    if largest is None:
        raise InputError(
            "this recipe divides by each unit's largest activation over a data set; give largest="
        )
    y0, x0, y1, x1 = canvas.field
    factor, inner = recipe.weight((y1 - y0) * (x1 - x0)), score.score
    divisors = largest.clamp(min=1e-6)
    return replace(score, score=lambda a, x, i: factor * inner(a, x, i) / divisors.to(x)[i])


def _optimize(
    model: Model,
    score: objectives.Objective,
    recipe: Recipe,
    canvas: Canvas,
    count: int,
    starts: Images | None,
    options: Options,
) -> AscentResult:
    """Optimize `count` canvases by a recipe, from noise or from given images."""
    objective = score - recipe.regularizer if recipe.regularizer else score
    if starts is None:
        space = recipe.start(options.start_seeds(count), canvas.size, model.device)
    else:
        size = (canvas.size, canvas.size)
        starts = functional.interpolate(starts, size=size, mode="bilinear", antialias=True)
        space = recipe.start_from(starts.to(model.device))
    fit = transforms.fit(canvas.size)
    phases = (
        replace(phase, transform=transforms.compose(phase.transform, fit))
        if phase.transform
        else phase
        for phase in recipe.phases
    )
    return replace(recipe, phases=tuple(phases)).run(model, objective, space, options)


@torch.no_grad()
def _final_scores(model: Model, score: objectives.Objective, images: Images) -> Float[Tensor, " n"]:
    index = torch.arange(len(images))
    parts = [
        objectives.scores(score, model, images[part], part.to(images.device), images[part])
        for part in index.split(64)
    ]
    return torch.cat(parts).float().cpu()
