"""Activation maximization: pictures that excite a unit most, found by gradient ascent.

x* = argmax_x a(x) - lambda(x), where a is the unit's activation and lambda a regulariser (survey,
section 3). Many units of a layer are rendered in one batch, each image with an optimisation of its
own; both passes stop at the layer, and a convolutional unit is rendered on a canvas just large
enough for its receptive field.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..core import hooks, imagespace, objectives, optimize, transforms
from ..core.errors import InputError, not_found
from ..core.objectives import Objective
from ..core.receptive import receptive_fields
from ..core.shapes import Float, Images, Int
from ..core.tally import TopK, tally
from ..models import Model


@dataclass(frozen=True)
class Recipe:
    """How to climb.

    Attributes:
        space: "pixels" from noise about gray, or "fourier" with decorrelated colour.
        steps: ascent steps.
        optimizer: rule of `core.optimize`.
        regularizer: subtracted from the activation; None for none.
        transform: between image and network; None for none.
        operators: act on the pixels after each step; pixel spaces only.
        start_std: deviation of the starting noise, in pixels' or coefficients' own unit.
        bounded: keep pixels within [0, 1]; Fourier images always are.
        wake: steps in which the gradient also passes silent ReLUs.
        source: paper, code or measurement the constants come from.
    """

    space: str
    steps: int
    optimizer: optimize.Rule
    regularizer: Objective | None = None
    transform: transforms.Transform | None = None
    operators: tuple[transforms.Operator, ...] = ()
    start_std: float = 0.01
    bounded: bool = True
    wake: int = 0
    source: str = ""


# Shift, turn and size vary a little, so that only what survives them is drawn.
GENTLE = transforms.compose(
    transforms.roll(4),
    transforms.rotate(range(-6, 7)),
    transforms.scale((0.94, 0.97, 1.0, 1.03, 1.06)),
)
RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "fourier",
        192,
        optimize.adam(0.05),
        regularizer=2.0 * objectives.total_variation(),
        transform=GENTLE,
        wake=16,
        source="this project: Fourier space and transformations after lucid, chosen by eye",
    ),
    "erhan": Recipe(
        "pixels",
        100,
        optimize.on_sphere(8.0, 0.1),
        start_std=0.1,
        bounded=False,
        source="Erhan et al. 2009: fixed norm; norm and step size are this project's",
    ),
    "yosinski3": Recipe(
        "pixels",
        400,
        optimize.sgd(100 / 255),
        operators=(transforms.decay(1e-4), transforms.gaussian_blur(1.0, every=4)),
        start_std=10 / 255,
        source="Yosinski et al. 2015, set 3: decay 1e-4, blur 1.0 each 4; rate 100 on 0 to 255",
    ),
    "lucid": Recipe(
        "fourier",
        512,
        optimize.adam(0.05),
        transform=transforms.LUCID,
        wake=16,
        source="lucid, render.py and transform.py",
    ),
}


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
        targets: "layer:unit" of each.
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
    patches: Images
    activations: Float[Tensor, " n"]
    history: Float[Tensor, "steps n"]
    snapshots: dict[int, Tensor]
    canvas: Canvas
    interrupted: bool


def canvas_of(model: Model, layer: str, margin: int = 0) -> Canvas:
    """Return the smallest canvas on which a unit sees nothing but canvas.

    Args:
        model: the network.
        layer: dotted name or alias.
        margin: pixels kept around the receptive field, for transformations to move in.

    Returns:
        That canvas; the network's whole input where the field, or the layer, needs all of it.
    """
    full = model.card.input_size
    field = receptive_fields(model, [layer], full)[layer]
    shape = _shape(model, layer, full)
    if len(shape) < 4 or 0 in field.stride:
        return Canvas(full, None, (0, 0, full, full))
    first = [-(-(margin - o) // s) for o, s in zip(field.offset, field.stride, strict=True)]
    box = field.box((first[0], first[1]))
    size = max(box[2], box[3]) + margin
    if size >= full:
        middle = (shape[-2] // 2, shape[-1] // 2)
        y0, x0, y1, x1 = field.box(middle)
        return Canvas(full, middle, (max(y0, 0), max(x0, 0), min(y1, full), min(x1, full)))
    return Canvas(size, (first[0], first[1]), box)


def _shape(model: Model, layer: str, size: int) -> torch.Size:
    with torch.no_grad():
        blank = torch.full((1, 3, size, size), 0.5, device=model.mean.device)
        return hooks.activations(model, blank, [layer])[layer].shape


def render(
    model: Model,
    targets: Sequence[str],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    full_canvas: bool = False,
    seeds: Sequence[int] | None = None,
    seed: int = 0,
    memory: int = optimize.GIBIBYTE,
    snapshots: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendering:
    """Render what excites units of one layer most.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer; a unit may stand there several times.
        recipe: a name in `RECIPES`, or one of your own.
        steps: instead of the recipe's.
        full_canvas: draw on the network's whole input, the unit in the middle.
        seeds: one for the start of each picture; `seed` for all by default.
        seed: of the transformations.
        memory: bytes one pass may take.
        snapshots: steps at which the images are kept.
        progress: called with (steps done, steps in all).
        should_stop: asked before each step.

    Raises:
        InputError: targets of several layers, a unit out of range, no gradient.
        NameNotFound: an unknown layer or recipe.

    Source: Erhan et al. 2009; Simonyan et al. 2013; survey section 3, figures F1 to F3.
    """
    layer, units = _one_layer(targets)
    recipe = _recipe(recipe)
    canvas = _canvas(model, layer, recipe, full_canvas)
    starts = list(seeds) if seeds is not None else [seed] * len(units)
    if len(starts) != len(units):
        raise InputError(f"{len(starts)} seeds for {len(units)} targets: expected one for each")
    score = objectives.neuron(layer, units, canvas.position)
    if canvas.position is None:
        score = objectives.channel(layer, units)
    trace = optimize.ascend(
        model,
        score - recipe.regularizer if recipe.regularizer else score,
        _space(recipe, canvas.size, starts, model.mean.device),
        steps=steps or recipe.steps,
        optimizer=recipe.optimizer,
        transform=_fitted(recipe.transform, canvas.size),
        operators=recipe.operators,
        relu_rule="redirected" if recipe.wake else "gradient",
        relu_rule_steps=recipe.wake,
        seed=seed,
        memory=memory,
        keep="last",
        snapshots=snapshots,
        progress=progress,
        should_stop=should_stop,
    )
    y0, x0, y1, x1 = canvas.field
    return Rendering(
        tuple(targets),
        trace.images,
        trace.images[..., y0:y1, x0:x1],
        activations_of(model, layer, units, trace.images, canvas.position),
        trace.history,
        trace.snapshots,
        canvas,
        trace.interrupted,
    )


def _one_layer(targets: Sequence[str]) -> tuple[str, list[int]]:
    parsed = [objectives.parse_target(target) for target in targets]
    layers = dict.fromkeys(layer for layer, _ in parsed)
    if len(layers) != 1:
        found = ", ".join(layers) or "none"
        raise InputError(f"targets of {found}: expected one layer; call once for each layer")
    return next(iter(layers)), [unit for _, unit in parsed]


def _recipe(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise not_found("recipe", recipe, RECIPES)
        recipe = RECIPES[recipe]
    if recipe.space not in ("pixels", "fourier"):
        raise InputError(f"space {recipe.space!r}: expected pixels or fourier")
    return recipe


def _canvas(model: Model, layer: str, recipe: Recipe, full: bool) -> Canvas:
    if not full:
        return canvas_of(model, layer, margin=8 if recipe.transform else 0)
    size = model.card.input_size
    shape = _shape(model, layer, size)
    middle = (shape[-2] // 2, shape[-1] // 2) if len(shape) == 4 else None
    return Canvas(size, middle, (0, 0, size, size))


def _space(
    recipe: Recipe, size: int, seeds: Sequence[int], device: torch.device
) -> imagespace.Space:
    if recipe.space == "fourier":
        return imagespace.fourier(seeds, size, std=recipe.start_std, device=device)
    start = imagespace.noise(seeds, size, std=recipe.start_std).to(device)
    bounds = (0.0, 1.0) if recipe.bounded else (None, None)
    return imagespace.pixels(start, low=bounds[0], high=bounds[1])


def _fitted(transform: transforms.Transform | None, size: int) -> transforms.Transform | None:
    return transforms.compose(transform, transforms.fit(size)) if transform else None


@torch.no_grad()
def activations_of(
    model: Model,
    layer: str,
    units: Sequence[int],
    images: Images,
    position: tuple[int, int] | None = None,
) -> Float[Tensor, " n"]:
    """Return what unit i answers to image i, in the middle of its map or at a position."""
    score = objectives.neuron(layer, units, position)
    index = torch.arange(len(images))
    parts = [
        objectives.scores(score, model, images[part], part.to(images.device), images[part])
        for part in index.split(64)
    ]
    return torch.cat(parts).float().cpu()


def strongest(
    model: Model,
    layers: Sequence[str],
    batches: Iterable[tuple[Int[Tensor, " n"], Tensor]],
    k: int = 9,
    progress: Callable[[int], None] | None = None,
) -> dict[str, TopK]:
    """Return the k pictures of a data set that excite each unit of the layers most."""
    found = {layer: TopK(k) for layer in layers}
    tally(model, batches, {layer: [top] for layer, top in found.items()}, progress)
    return found


def kernel_agreement(
    model: Model, *, recipe: str | Recipe = "erhan", seeds: Sequence[int] = (0,)
) -> tuple[Float[Tensor, "seeds units 3 h w"], Float[Tensor, "seeds units"]]:
    """Render every unit of the first convolution and correlate the result with its kernel.

    Under a norm constraint the optimum of a linear unit is its own kernel, so the correlation
    tells how far a recipe bends the result.

    Args:
        model: the network.
        recipe: how to climb.
        seeds: one run each.

    Returns:
        The pictures less gray, and their correlations with the kernels as these act on images.

    Source: Erhan et al. 2009; survey figure F1 (b).
    """
    layer, kernels = model.first_conv(), model.kernels()
    targets = [f"{layer}:{unit}" for unit in range(len(kernels))]
    runs = [
        render(model, targets, recipe=recipe, seeds=[seed + 1000 * u for u in range(len(kernels))])
        for seed in seeds
    ]
    patches = torch.stack([run.patches - 0.5 for run in runs]).cpu()
    return patches, correlation(patches, kernels.cpu().expand_as(patches))


def correlation(
    first: Float[Tensor, "... c h w"], second: Float[Tensor, "... c h w"]
) -> Float[Tensor, "..."]:
    """Return the cosine between two pictures about gray, over pixels and channels."""
    a, b = first.flatten(-3), second.flatten(-3)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-12)


def saturation(kernels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
    """Return how coloured kernels are: the share of their energy that is not gray, 0 to 1."""
    gray = kernels.mean(1, keepdim=True)
    return ((kernels - gray) ** 2).flatten(1).sum(1) / (kernels**2).flatten(1).sum(1)


def bimodality(values: Float[Tensor, " n"]) -> float:
    """Return Sarle's coefficient: above 5/9 speaks for two groups, 5/9 is a flat distribution."""
    n, centred = len(values), values.double() - values.double().mean()
    if n < 4:
        raise InputError(f"bimodality of {n} values: expected at least 4")
    second = (centred**2).mean()
    skew = (centred**3).mean() / second**1.5
    excess = (centred**4).mean() / second**2 - 3
    sample = 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    return float((skew**2 + 1) / (excess + sample))


def agreement_between_starts(
    model: Model, targets: Sequence[str], starts: int = 9, *, recipe: str | Recipe = "erhan"
) -> Float[Tensor, " n"]:
    """Return, per target, the mean correlation between pictures from different random starts.

    Args:
        model: the network.
        targets: "layer:unit", all of one layer.
        starts: how many starts each.
        recipe: how to climb; a space that itself is smooth would raise the numbers.

    Source: Erhan et al. 2009 (one optimum, whatever the start).
    """
    many = [target for target in targets for _ in range(starts)]
    seeds = [1 + s + 1000 * t for t in range(len(targets)) for s in range(starts)]
    patches = render(model, many, recipe=recipe, seeds=seeds).patches.cpu() - 0.5
    groups = patches.view(len(targets), starts, *patches.shape[1:])
    pairs = correlation(groups.unsqueeze(1), groups.unsqueeze(2))
    off_diagonal = pairs.sum((1, 2)) - pairs.diagonal(dim1=1, dim2=2).sum(1)
    return off_diagonal / (starts * (starts - 1))


def with_steps(recipe: str | Recipe, steps: int) -> Recipe:
    """Return a recipe with another number of steps."""
    return replace(_recipe(recipe), steps=steps)
