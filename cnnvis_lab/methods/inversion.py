"""Inversion: pictures whose features are those of a given picture.

x* = argmin_x C ||f(x) - f0||^2 / ||f0||^2 + lambda(x), where f are the features of a layer, f0
those of a picture (or what is left of them after a change), and lambda a regulariser (survey,
section 6). Every layer, picture and start moves in one batch, each image with an optimisation of
its own; an image leaves the forward pass at its layer, and the batch once it is good enough.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core import hooks, imagespace, objectives, optimize, relu_rules, transforms
from ..core.errors import InputError
from ..core.objectives import Objective
from ..core.receptive import LayerRow, layer_table
from ..core.shapes import Float, Images
from ..core.side_by_side import side_by_side
from ..models import Model
from . import inversion_recipes
from .inversion_found import Inversion, encode, feature_error, gathered
from .inversion_recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Inversion", "Recipe", "encode", "feature_error", "invert"]

EXACT = 1e-4  # error at which a picture counts as found: of rounding, and nothing to see


def invert(
    model: Model,
    codes: Mapping[str, Float[Tensor, "n ..."]],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    starts: int | Images = 1,
    masks: Mapping[str, Float[Tensor, "..."]] | None = None,
    enough: float | Mapping[str, float] = EXACT,
    seed: int = 0,
    memory: int = optimize.GIBIBYTE,
    progress: Callable[[int, int], None] | None = None,
    look: optimize.Look | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Inversion:
    """Find pictures for codes.

    Args:
        model: the network.
        codes: layer -> features to reach, as many pictures' for each layer; see `encode`.
        recipe: a name in `RECIPES`, or one of your own.
        steps: instead of the recipe's, shared out over its phases.
        starts: how many random starts for each code, or (starts, 3, size, size) pictures to begin
            with, the same ones for every code.
        masks: layer -> which of its features count, see `core.objectives.match`; all by default.
        enough: error at which a picture is left as it is, for all layers or by layer.
        seed: of starts and jitter; start s of every code begins with noise `seed + s`.
        memory: bytes one pass may take.
        progress: called with (steps done, steps in all) of each phase.
        look: called after each step with the pictures as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: codes of different numbers of pictures, or that do not fit the layer.
        NameNotFound: an unknown layer or recipe.

    Source: Mahendran and Vedaldi 2015 and 2016; survey section 5, figure F9.
    """
    recipe = _with_steps(inversion_recipes.find(recipe), steps)
    count = _count(codes)
    each = starts if isinstance(starts, int) else len(starts)
    job = _Job(
        model, recipe, each, starts, masks or {}, enough, seed, memory, progress, look, should_stop
    )
    found: dict[str, optimize.Trace] = {}
    for reach, layers in _by_jitter(model, codes, recipe).items():
        own = {layer: codes[layer] for layer in layers}
        trace = _descend(job, own, reach)
        found |= dict(zip(layers, _split(trace, len(layers)), strict=True))
    return gathered(model, codes, masks or {}, found, (count, each))


@dataclass(frozen=True)
class _Job:
    """What a descent takes besides its codes: see `invert`."""

    model: Model
    recipe: Recipe
    each: int
    starts: int | Tensor
    masks: Mapping[str, Tensor]
    enough: float | Mapping[str, float]
    seed: int
    memory: int
    progress: Callable[[int, int], None] | None
    look: optimize.Look | None
    should_stop: Callable[[], bool] | None


def _count(codes: Mapping[str, Tensor]) -> int:
    counts = {layer: len(code) for layer, code in codes.items()}
    if len(set(counts.values())) != 1:
        given = ", ".join(f"{n} for {layer}" for layer, n in counts.items()) or "none"
        raise InputError(
            f"codes: {given}; expected as many for every layer, and one layer at least"
        )
    return next(iter(counts.values()))


def _with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with that many steps in all, its phases shortened or stretched alike."""
    if steps is None:
        return recipe
    if steps < 1:
        raise InputError(f"{steps} steps: expected at least 1, or None for the recipe's own")
    phases = (
        replace(p, steps=max(1, round(p.steps * steps / recipe.steps))) for p in recipe.phases
    )
    return replace(recipe, phases=tuple(phases))


def _by_jitter(model: Model, layers: Mapping[str, Tensor], recipe: Recipe) -> dict[int, list[str]]:
    """Group the layers by how far their pictures are shifted, which is one number for a batch."""
    share = max(phase.jitter for phase in recipe.phases)
    if not share:
        return {0: list(layers)}
    groups: dict[int, list[str]] = {}
    rows = layer_table(model, model.card.input_size)
    coarsest = max((_stride(row) for row in rows if len(row.shape) > 1), default=0) or 1
    for layer in layers:
        name = f"{hooks.resolve(model, layer)}."
        own = [row for row in rows if f"{row.name}.".startswith(name)]
        # A full layer sees the whole picture wherever it moves: as far as the coarsest map.
        stride = _stride(own[-1]) if own else 0
        groups.setdefault(max(1, round(share * (stride or coarsest))), []).append(layer)
    return groups


def _stride(row: LayerRow) -> int:
    return row.field.stride[0] if row.field else 0


def _descend(job: _Job, codes: Mapping[str, Tensor], reach: int) -> optimize.Trace:
    """Go through the recipe's phases, each beginning where the last one ended."""
    recipe, traces = job.recipe, []
    score, error, enough = _objectives(job, codes)
    space = _space(job, len(enough))
    for phase in recipe.phases:
        leaks = bool(recipe.leak) and not traces
        if traces:
            space = _space_from(recipe, traces[-1].images)
        traces.append(
            optimize.ascend(
                job.model,
                score,
                space,
                steps=phase.steps,
                optimizer=phase.optimizer(phase.steps),
                transform=transforms.roll(reach) if phase.jitter else None,
                seed=job.seed,
                memory=job.memory,
                relu_rule=relu_rules.leaky(recipe.leak) if leaks else "gradient",
                relu_rule_steps=round(recipe.leaky * phase.steps),
                keep="last",
                watch=error,
                enough=enough,
                progress=job.progress,
                look=job.look,
                should_stop=job.should_stop,
            )
        )
        if traces[-1].interrupted:
            break
    watched = torch.cat([trace.watched for trace in traces])
    return replace(traces[-1], watched=watched)


def _objectives(
    job: _Job, codes: Mapping[str, Tensor]
) -> tuple[Objective, Objective, Float[Tensor, " n"]]:
    """What is climbed; the squared error; and the squared error at which each image is finished."""
    recipe, scores, errors, enough = job.recipe, [], [], []
    for layer, code in codes.items():
        code, mask = code.repeat_interleave(job.each, 0), job.masks.get(layer)
        score = -recipe.data * objectives.match(layer, code, recipe.loss, mask)
        if recipe.regularizer:
            score = score - recipe.regularizer(inversion_recipes.depth_of(job.model, layer))
        scores.append((score, len(code)))
        errors.append((objectives.match(layer, code, "l2", mask), len(code)))
        goal = job.enough if isinstance(job.enough, float | int) else job.enough.get(layer, EXACT)
        enough += [float(goal) ** 2] * len(code)
    return side_by_side(scores), side_by_side(errors), torch.tensor(enough)


def _space(job: _Job, count: int) -> imagespace.Space:
    """Where `count` images begin, start after start for each code."""
    recipe, size, device = job.recipe, job.model.card.input_size, job.model.mean.device
    repeats = count // job.each
    if not isinstance(job.starts, int):
        return _space_from(recipe, job.starts.repeat(repeats, 1, 1, 1).to(device))
    seeds = [job.seed + s for _ in range(repeats) for s in range(job.each)]
    if recipe.space == "fourier":
        return imagespace.fourier(seeds, size, std=recipe.start_std, device=device)
    noise = imagespace.noise(seeds, size, std=recipe.start_std).to(device)
    return _space_from(recipe, noise)


def _space_from(recipe: Recipe, images: Images) -> imagespace.Space:
    if recipe.space == "fourier":
        return imagespace.fourier_from(images)
    if recipe.space != "pixels":
        raise InputError(f"space {recipe.space!r}: expected pixels or fourier")
    low, high = (0.0, 1.0) if recipe.bounded else (None, None)
    return imagespace.pixels(images, low=low, high=high)


def _split(trace: optimize.Trace, parts: int) -> list[tuple[Images, Tensor, bool]]:
    """Cut a trace of several layers into the layers' images, squared errors and interruption."""
    images, watched = trace.images.chunk(parts), trace.watched.chunk(parts, 1)
    return [(i, w, trace.interrupted) for i, w in zip(images, watched, strict=True)]
