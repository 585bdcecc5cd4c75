"""What inversion starts from and gives: codes of pictures, and pictures found for codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core import Float, Images, InputError, features, hooks, receptive_field
from ...core.optimization import (
    GIBIBYTE,
    AscentResult,
    Monitor,
    Options,
    image_space,
    objectives,
    transforms,
)
from ...models import Model
from . import recipes
from .recipes import Recipe


@dataclass(frozen=True)
class Inversion:
    """Pictures found for codes.

    Attributes:
        layers: whose codes.
        images: (layers, n, starts, 3, size, size), in [0, 1] unless the recipe is unbounded.
        errors: (layers, n, starts) ||f(x) - f0|| / ||f0|| of these pictures as they are.
        history: (steps, layers, n, starts) the same at every step, as the network was shown them;
            NaN once a picture was good enough.
        interrupted: whether the descent was stopped early.
    """

    layers: tuple[str, ...]
    images: Float[Tensor, "layers n starts 3 h w"]
    errors: Float[Tensor, "layers n starts"]
    history: Float[Tensor, "steps layers n starts"]
    interrupted: bool

    def __getitem__(self, layer: str) -> Images:
        """Return a layer's pictures, one start after the other for each code."""
        return self.images[self.layers.index(layer)].flatten(0, 1)

    @property
    def steps(self) -> Float[Tensor, "layers n starts"]:
        """How many steps each picture took."""
        return (~self.history.isnan()).sum(0).float()


def feature_error(
    found: Float[Tensor, "n ..."],
    wanted: Float[Tensor, "n ..."],
    mask: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, " n"]:
    """Return ||f - f0|| / ||f0|| of each picture's features.

    Source: Mahendran and Vedaldi 2016, normalised reconstruction error.
    """
    if mask is not None:
        found, wanted = found * mask.to(found), wanted * mask.to(wanted)
    size = wanted.flatten(1).norm(dim=1).clamp(min=1e-12)
    return ((found - wanted).flatten(1).norm(dim=1) / size).cpu()


def _assemble(
    model: Model,
    codes: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    found: Mapping[str, tuple[Images, Tensor, bool]],
    shape: tuple[int, int],
) -> Inversion:
    """Put layers' pictures and squared errors together.

    Args:
        model: the network.
        codes: what was asked for.
        masks: layer -> which features count.
        found: layer -> its pictures, their squared errors by step, whether it was interrupted.
        shape: numbers of codes and of starts.
    """
    images = torch.stack([found[layer][0] for layer in codes])
    longest = max(len(found[layer][1]) for layer in codes)
    history = torch.full((longest, *images.shape[:2]), torch.nan)
    errors = torch.empty(images.shape[:2])
    for number, layer in enumerate(codes):
        watched = found[layer][1]
        history[: len(watched), number] = watched
        wanted = codes[layer].repeat_interleave(shape[1], 0)
        own = features.extract(model, images[number], [layer])[layer]
        errors[number] = feature_error(own, wanted, masks.get(layer))
    return Inversion(
        tuple(codes),
        images.unflatten(1, shape),
        errors.unflatten(1, shape),
        history.sqrt().unflatten(2, shape),
        any(interrupted for *_, interrupted in found.values()),
    )


EXACT_ERROR = 1e-4  # error at which a picture counts as found: of rounding, and nothing to see


def invert(
    model: Model,
    codes: Mapping[str, Float[Tensor, "n ..."]],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    starts: int | Images = 1,
    masks: Mapping[str, Float[Tensor, "..."]] | None = None,
    stop_below: float | Mapping[str, float] = EXACT_ERROR,
    seed: int = 0,
    memory_limit: int = GIBIBYTE,
    on_progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[Tensor], None] | None = None,
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
        stop_below: error at which a picture is left as it is, for all layers or by layer.
        seed: of starts and jitter; start s of every code begins with noise `seed + s`.
        memory_limit: bytes one pass may take.
        on_progress: called with (steps done, steps in all) of each phase.
        on_step: called after each step with the pictures as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: codes of different numbers of pictures, or that do not fit the layer.
        NameNotFound: an unknown layer or recipe.

    Source: Mahendran and Vedaldi 2015 and 2016; survey section 5, figure F9.
    """
    recipe = recipes.get_recipe(recipe).with_steps(steps)
    count = _count_images(codes)
    each = starts if isinstance(starts, int) else len(starts)
    job = _Options(
        model,
        recipe,
        each,
        starts,
        masks or {},
        stop_below,
        seed,
        memory_limit,
        on_progress,
        on_step,
        should_stop,
    )
    found: dict[str, AscentResult] = {}
    for reach, layers in _group_by_jitter(model, codes, recipe).items():
        own = {layer: codes[layer] for layer in layers}
        trace = _minimize(job, own, reach)
        found |= dict(zip(layers, _split_by_layer(trace, len(layers)), strict=True))
    return _assemble(model, codes, masks or {}, found, (count, each))


@dataclass(frozen=True)
class _Options:
    """What a descent takes besides its codes: see `invert`."""

    model: Model
    recipe: Recipe
    each: int
    starts: int | Tensor
    masks: Mapping[str, Tensor]
    stop_below: float | Mapping[str, float]
    seed: int
    memory_limit: int
    on_progress: Callable[[int, int], None] | None
    on_step: Callable[[Tensor], None] | None
    should_stop: Callable[[], bool] | None


def _count_images(codes: Mapping[str, Tensor]) -> int:
    counts = {layer: len(code) for layer, code in codes.items()}
    if len(set(counts.values())) != 1:
        given = ", ".join(f"{n} for {layer}" for layer, n in counts.items()) or "none"
        raise InputError(
            f"codes: {given}; expected as many for every layer, and one layer at least"
        )
    return next(iter(counts.values()))


def _group_by_jitter(
    model: Model, layers: Mapping[str, Tensor], recipe: Recipe
) -> dict[int, list[str]]:
    """Group the layers by how far their pictures are shifted, which is one number for a batch."""
    share = max(recipe.jitter, default=0)
    if not share:
        return {0: list(layers)}
    groups: dict[int, list[str]] = {}
    rows = receptive_field.layer_table(model, model.card.input_size)
    coarsest = max((_stride(row) for row in rows if len(row.shape) > 1), default=0) or 1
    for layer in layers:
        name = f"{hooks.resolve(model, layer)}."
        own = [row for row in rows if f"{row.name}.".startswith(name)]
        # A full layer sees the whole picture wherever it moves: as far as the coarsest map.
        stride = _stride(own[-1]) if own else 0
        groups.setdefault(max(1, round(share * (stride or coarsest))), []).append(layer)
    return groups


def _stride(row: receptive_field.LayerRow) -> int:
    return row.field.stride[0] if row.field else 0


def _minimize(job: _Options, codes: Mapping[str, Tensor], reach: int) -> AscentResult:
    """Find the images of layers whose images are shifted by up to `reach` pixels."""
    score, error, enough = _objectives(job, codes)
    roll = transforms.roll(reach)
    jitter = [*job.recipe.jitter, *[0.0] * len(job.recipe.phases)]
    phases = (
        replace(phase, transform=roll) if shift else phase
        for phase, shift in zip(job.recipe.phases, jitter, strict=False)
    )
    recipe = replace(job.recipe, phases=tuple(phases))
    options = Options(
        job.seed,
        memory_limit=job.memory_limit,
        on_progress=job.on_progress,
        on_step=job.on_step,
        should_stop=job.should_stop,
    )
    space = _space(job, len(enough))
    return recipe.run(job.model, score, space, options, Monitor(error, enough))


def _objectives(
    job: _Options, codes: Mapping[str, Tensor]
) -> tuple[objectives.Objective, objectives.Objective, Float[Tensor, " n"]]:
    """What is climbed; the squared error; and the squared error at which each image is finished."""
    recipe, scores, errors, enough = job.recipe, [], [], []
    for layer, code in codes.items():
        code, mask = code.repeat_interleave(job.each, 0), job.masks.get(layer)
        score = -recipe.data * objectives.match(layer, code, recipe.loss, mask)
        if recipe.regularizer:
            score = score - recipe.regularizer(recipes.relative_depth(job.model, layer))
        scores.append((score, len(code)))
        errors.append((objectives.match(layer, code, "l2", mask), len(code)))
        goal = (
            job.stop_below
            if isinstance(job.stop_below, float | int)
            else job.stop_below.get(layer, EXACT_ERROR)
        )
        enough += [float(goal) ** 2] * len(code)
    return objectives.per_image(scores), objectives.per_image(errors), torch.tensor(enough)


def _space(job: _Options, count: int) -> image_space.Space:
    """Where `count` images begin, start after start for each code."""
    recipe, size, device = job.recipe, job.model.card.input_size, job.model.device
    repeats = count // job.each
    if not isinstance(job.starts, int):
        return recipe.start_from(job.starts.repeat(repeats, 1, 1, 1).to(device))
    seeds = [job.seed + s for _ in range(repeats) for s in range(job.each)]
    return recipe.start(seeds, size, device)


def _split_by_layer(trace: AscentResult, parts: int) -> list[tuple[Images, Tensor, bool]]:
    """Cut a trace of several layers into the layers' images, squared errors and interruption."""
    images, watched = trace.images.chunk(parts), trace.monitored.chunk(parts, 1)
    return [(i, w, trace.interrupted) for i, w in zip(images, watched, strict=True)]
