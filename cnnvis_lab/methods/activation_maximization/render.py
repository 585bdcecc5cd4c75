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
    StepCallback,
    ascend,
    image_space,
    objectives,
    transforms,
)
from ...models import Model
from . import recipes
from .canvas import Canvas, canvas_for
from .recipes import Phase, Recipe


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


@dataclass(frozen=True)
class _Options:
    """What an ascent takes besides its score: see `render`."""

    recipe: Recipe
    seeds: list[int]
    seed: int
    memory_limit: int
    starts: Tensor | None = None
    snapshots: Sequence[int] = ()
    on_progress: Callable[[int, int], None] | None = None
    on_step: StepCallback | None = None
    should_stop: Callable[[], bool] | None = None


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
    on_step: StepCallback | None = None,
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
    recipe = _with_steps(recipes.get_recipe(recipe), steps)
    canvas = canvas_for(model, layer, recipe, full_canvas or whole_channel)
    if canvas.position is None or whole_channel:
        activation = objectives.channel(layer, units)
    else:
        activation = objectives.neuron(layer, units, canvas.position)
    score = _divide_by_largest(activation, recipe, canvas, largest)
    if diversity:
        score = score + diversity * objectives.diversity(layer, len(units))
    knobs = _Options(
        recipe,
        image_space.expand_seeds(seeds, seed, len(units)),
        seed,
        memory_limit,
        starts,
        snapshots,
        on_progress,
        on_step,
        should_stop,
    )
    trace = _run_phases(model, score, canvas, knobs)
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
    recipe = _with_steps(recipes.get_recipe(recipe), steps)
    canvas = canvas_for(model, layer, recipe, False)
    score = objectives.direction(layer, vectors, canvas.position)
    trace = _run_phases(
        model, score, canvas, _Options(recipe, [seed] * len(vectors), seed, memory_limit)
    )
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


def _with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with that many steps in all, its phases shortened or stretched alike."""
    if steps is None:
        return recipe
    if steps < 1:
        raise InputError(f"{steps} steps: expected at least 1, or None for the recipe's own")
    whole = sum(phase.steps for phase in recipe.phases)
    phases = (replace(p, steps=max(1, round(p.steps * steps / whole))) for p in recipe.phases)
    return replace(recipe, phases=tuple(phases))


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


def _run_phases(
    model: Model, score: objectives.Objective, canvas: Canvas, knobs: _Options
) -> AscentResult:
    """Go through the recipe's phases, each beginning where the last one ended."""
    recipe, device = knobs.recipe, model.device
    objective = score - recipe.regularizer if recipe.regularizer else score
    space = _starting_space(recipe, canvas.size, knobs, device)
    traces: list[AscentResult] = []
    for phase in recipe.phases:
        if traces:
            images = _enlarge_center(traces[-1].images, phase.enlarge)
            space = _space_from(recipe, images)
        traces.append(_run_phase(model, objective, space, phase, canvas, knobs, bool(traces)))
        if traces[-1].interrupted:
            break
    history = torch.cat([trace.history for trace in traces])
    return replace(traces[-1], history=history, snapshots=traces[0].snapshots)


def _run_phase(
    model: Model,
    objective: objectives.Objective,
    space: image_space.Space,
    phase: Phase,
    canvas: Canvas,
    knobs: _Options,
    later: bool,
) -> AscentResult:
    fit = transforms.fit(canvas.size)
    return ascend(
        model,
        objective,
        space,
        steps=phase.steps,
        optimizer=phase.optimizer,
        transform=transforms.compose(phase.transform, fit) if phase.transform else None,
        operators=phase.operators,
        relu_rule=knobs.recipe.relu_rule,
        relu_rule_steps=knobs.recipe.relu_rule_steps,
        seed=knobs.seed,
        memory_limit=knobs.memory_limit,
        return_="last",
        snapshots=() if later else knobs.snapshots,
        on_progress=knobs.on_progress,
        on_step=knobs.on_step,
        should_stop=knobs.should_stop,
    )


def _starting_space(
    recipe: Recipe, size: int, knobs: _Options, device: torch.device
) -> image_space.Space:
    if knobs.starts is not None:
        shape = (size, size)
        starts = functional.interpolate(knobs.starts, size=shape, mode="bilinear", antialias=True)
        return _space_from(recipe, starts.to(device))
    if recipe.space == "fourier":
        return image_space.fourier(knobs.seeds, size, std=recipe.start_std, device=device)
    start = image_space.noise(knobs.seeds, size, std=recipe.start_std).to(device)
    return _space_from(recipe, start)


def _space_from(recipe: Recipe, images: Images) -> image_space.Space:
    if recipe.space == "fourier":
        return image_space.fourier_from(images)
    if recipe.space != "pixels":
        raise InputError(f"space {recipe.space!r}: expected pixels or fourier")
    bounds = (0.0, 1.0) if recipe.bounded else (None, None)
    return image_space.pixels(images, low=bounds[0], high=bounds[1])


def _enlarge_center(images: Images, factor: float) -> Images:
    """Enlarge the middle of pictures to their whole size."""
    if factor == 1.0:
        return images
    size = images.shape[-1]
    large = functional.interpolate(images, scale_factor=factor, mode="bilinear")
    start = (large.shape[-1] - size) // 2
    return large[..., start : start + size, start : start + size]


@torch.no_grad()
def _final_scores(model: Model, score: objectives.Objective, images: Images) -> Float[Tensor, " n"]:
    index = torch.arange(len(images))
    parts = [
        objectives.scores(score, model, images[part], part.to(images.device), images[part])
        for part in index.split(64)
    ]
    return torch.cat(parts).float().cpu()
