"""Activation maximization: pictures that excite a unit most, found by gradient ascent.

x* = argmax_x a(x) - lambda(x), where a is the unit's activation and lambda a regulariser (survey,
section 3). Many units of a layer are rendered in one batch, each image with an optimisation of its
own; both passes stop at the layer, and a convolutional unit is rendered on a canvas just large
enough for its receptive field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core import hooks, imagespace, objectives, optimize, transforms
from ..core.errors import InputError
from ..core.objectives import Objective
from ..core.receptive import receptive_fields
from ..core.shapes import Float, Images
from ..models import Model
from . import am_recipes
from .am_recipes import RECIPES, Phase, Recipe

__all__ = ["RECIPES", "Canvas", "Recipe", "Rendering", "render", "render_directions"]


class Canvas(NamedTuple):
    """Where a unit is drawn.

    Attributes:
        size: side in pixels.
        position: (row, column) of the unit in its layer's map; None for a full layer.
        field: y0, x0, y1, x1 of what it sees, within the canvas.
    """

    size: int
    position: tuple[int, int] | None
    field: tuple[int, int, int, int]


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


def canvas_of(model: Model, layer: str, margin: int = 0, *, whole: bool = False) -> Canvas:
    """Return the smallest canvas on which a unit sees nothing but canvas.

    Args:
        model: the network.
        layer: dotted name or alias.
        margin: pixels kept around the receptive field, for transformations to move in.
        whole: draw on the network's whole input, the unit in the middle.

    Returns:
        That canvas; the network's whole input where the field, or the layer, needs all of it.
    """
    full = model.card.input_size
    shape = _shape(model, layer, full)
    if len(shape) < 4:
        return Canvas(full, None, (0, 0, full, full))
    field = receptive_fields(model, [layer], full)[layer]
    if 0 in field.stride:
        return Canvas(full, None, (0, 0, full, full))
    first = [-(-(margin - o) // s) for o, s in zip(field.offset, field.stride, strict=True)]
    box = field.box((first[0], first[1]))
    size = max(box[2], box[3]) + margin
    if whole or size >= full:
        middle = (shape[-2] // 2, shape[-1] // 2)
        y0, x0, y1, x1 = field.box(middle)
        return Canvas(full, middle, (max(y0, 0), max(x0, 0), min(y1, full), min(x1, full)))
    return Canvas(size, (first[0], first[1]), box)


def _shape(model: Model, layer: str, size: int) -> torch.Size:
    with torch.no_grad():
        blank = torch.full((1, 3, size, size), 0.5, device=model.mean.device)
        return hooks.activations(model, blank, [layer])[layer].shape


@dataclass(frozen=True)
class _Knobs:
    """What an ascent takes besides its score: see `render`."""

    recipe: Recipe
    seeds: list[int]
    seed: int
    memory: int
    starts: Tensor | None = None
    snapshots: Sequence[int] = ()
    progress: Callable[[int, int], None] | None = None
    look: optimize.Look | None = None
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
    memory: int = optimize.GIBIBYTE,
    snapshots: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
    look: optimize.Look | None = None,
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
        memory: bytes one pass may take.
        snapshots: steps of the first phase at which the images are kept.
        progress: called with (steps done, steps in all) of each phase.
        look: called after each step with the canvases as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: targets of several layers, a unit out of range, no gradient.
        NameNotFound: an unknown layer or recipe.

    Source: Erhan et al. 2009; Simonyan et al. 2013; survey section 3, figures F1 to F3.
    """
    layer, units = objectives.one_layer(targets)
    recipe = _with_steps(am_recipes.find(recipe), steps)
    canvas = canvas_for(model, layer, recipe, full_canvas or whole_channel)
    if canvas.position is None or whole_channel:
        activation = objectives.channel(layer, units)
    else:
        activation = objectives.neuron(layer, units, canvas.position)
    score = _weighted(activation, recipe, canvas, largest)
    if diversity:
        score = score + diversity * objectives.diversity(layer, len(units))
    knobs = _Knobs(
        recipe,
        imagespace.one_each(seeds, seed, len(units)),
        seed,
        memory,
        starts,
        snapshots,
        progress,
        look,
        should_stop,
    )
    trace = _climb(model, score, canvas, knobs)
    return _rendering(tuple(targets), trace, _scored(model, activation, trace.images), canvas)


def render_directions(
    model: Model,
    layer: str,
    vectors: Float[Tensor, "n units"],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
    memory: int = optimize.GIBIBYTE,
) -> Rendering:
    """Render what excites directions of a layer's activation space most.

    Args:
        model: the network.
        layer: dotted name or alias.
        vectors: one direction per picture, as long as the layer has units.
        recipe: as in `render`.
        steps: as in `render`.
        seed: of starts and transformations.
        memory: bytes one pass may take.

    Source: Olah, Mordvintsev and Schubert 2017, "Directions in activation space".
    """
    recipe = _with_steps(am_recipes.find(recipe), steps)
    canvas = canvas_for(model, layer, recipe, False)
    score = objectives.direction(layer, vectors, canvas.position)
    trace = _climb(model, score, canvas, _Knobs(recipe, [seed] * len(vectors), seed, memory))
    reached = _scored(model, score, trace.images)
    names = tuple(f"{layer} direction {n}" for n in range(len(vectors)))
    return _rendering(names, trace, reached, canvas)


def _rendering(
    targets: tuple[str, ...], trace: optimize.Trace, reached: Tensor, canvas: Canvas
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


def canvas_for(model: Model, layer: str, recipe: Recipe, whole: bool = False) -> Canvas:
    """Return the canvas that a recipe is drawn on: see `canvas_of`."""
    moves = any(phase.transform for phase in recipe.phases)
    return canvas_of(model, layer, recipe.margin if moves else 0, whole=whole)


def _weighted(
    score: Objective, recipe: Recipe, canvas: Canvas, largest: Tensor | None
) -> Objective:
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


def _climb(model: Model, score: Objective, canvas: Canvas, knobs: _Knobs) -> optimize.Trace:
    """Go through the recipe's phases, each beginning where the last one ended."""
    recipe, device = knobs.recipe, model.mean.device
    objective = score - recipe.regularizer if recipe.regularizer else score
    space = _space(recipe, canvas.size, knobs, device)
    traces: list[optimize.Trace] = []
    for phase in recipe.phases:
        if traces:
            images = _enlarged(traces[-1].images, phase.enlarge)
            space = _space_from(recipe, images)
        traces.append(_phase(model, objective, space, phase, canvas, knobs, bool(traces)))
        if traces[-1].interrupted:
            break
    history = torch.cat([trace.history for trace in traces])
    return replace(traces[-1], history=history, snapshots=traces[0].snapshots)


def _phase(
    model: Model,
    objective: Objective,
    space: imagespace.Space,
    phase: Phase,
    canvas: Canvas,
    knobs: _Knobs,
    later: bool,
) -> optimize.Trace:
    fit = transforms.fit(canvas.size)
    return optimize.ascend(
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
        memory=knobs.memory,
        keep="last",
        snapshots=() if later else knobs.snapshots,
        progress=knobs.progress,
        look=knobs.look,
        should_stop=knobs.should_stop,
    )


def _space(recipe: Recipe, size: int, knobs: _Knobs, device: torch.device) -> imagespace.Space:
    if knobs.starts is not None:
        shape = (size, size)
        starts = functional.interpolate(knobs.starts, size=shape, mode="bilinear", antialias=True)
        return _space_from(recipe, starts.to(device))
    if recipe.space == "fourier":
        return imagespace.fourier(knobs.seeds, size, std=recipe.start_std, device=device)
    start = imagespace.noise(knobs.seeds, size, std=recipe.start_std).to(device)
    return _space_from(recipe, start)


def _space_from(recipe: Recipe, images: Images) -> imagespace.Space:
    if recipe.space == "fourier":
        return imagespace.fourier_from(images)
    if recipe.space != "pixels":
        raise InputError(f"space {recipe.space!r}: expected pixels or fourier")
    bounds = (0.0, 1.0) if recipe.bounded else (None, None)
    return imagespace.pixels(images, low=bounds[0], high=bounds[1])


def _enlarged(images: Images, factor: float) -> Images:
    """Enlarge the middle of pictures to their whole size."""
    if factor == 1.0:
        return images
    size = images.shape[-1]
    large = functional.interpolate(images, scale_factor=factor, mode="bilinear")
    start = (large.shape[-1] - size) // 2
    return large[..., start : start + size, start : start + size]


@torch.no_grad()
def _scored(model: Model, score: Objective, images: Images) -> Float[Tensor, " n"]:
    index = torch.arange(len(images))
    parts = [
        objectives.scores(score, model, images[part], part.to(images.device), images[part])
        for part in index.split(64)
    ]
    return torch.cat(parts).float().cpu()
