"""Inversion by optimization: images whose features in a layer match those of a given image.

All layers, images and random starts are optimized in one batch, independently of one another. Each
image leaves the forward pass at its layer, and leaves the batch once its error is small enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...core import (
    Float,
    Images,
    InputError,
    choose,
    features,
    hooks,
    receptive_field,
    with_gradients,
)
from ...core.optimization import (
    DEFAULT_OPTIONS,
    AscentResult,
    Monitor,
    Options,
    objectives,
    transforms,
)
from ...models import Model
from .recipes import COMPARED_RECIPES, RECIPES, Recipe, relative_depth

EXACT_ERROR = 1e-4  # at this error an image is exact up to rounding


@dataclass(frozen=True)
class Inversion:
    """Images reconstructed from features.

    Attributes:
        layers: the layers that were inverted.
        images: (layers, n, starts, 3, size, size), in [0, 1] unless the recipe is unbounded.
        errors: (layers, n, starts) ||f(x) - f0|| / ||f0|| of these images.
        history: (steps, layers, n, starts) the error at each step, of the image as the network sees
            it; NaN once the error was small enough.
        interrupted: whether the optimization was stopped early.
    """

    layers: tuple[str, ...]
    images: Float[Tensor, "layers n starts c h w"]
    errors: Float[Tensor, "layers n starts"]
    history: Float[Tensor, "steps layers n starts"]
    interrupted: bool

    def __getitem__(self, layer: str) -> Images:
        """Return a layer's images, (n * starts, 3, size, size)."""
        return self.images[self.layers.index(layer)].flatten(0, 1)

    def select(self, layers: Sequence[str]) -> "Inversion":
        """Return the inversion of some of the layers."""
        rows = [self.layers.index(layer) for layer in layers]
        return replace(
            self,
            layers=tuple(layers),
            images=self.images[rows],
            errors=self.errors[rows],
            history=self.history[:, rows],
        )

    def by_layer(self) -> dict[str, Images]:
        """Return layer -> images, (n * starts, 3, size, size)."""
        return {layer: self[layer] for layer in self.layers}

    @property
    def steps(self) -> Float[Tensor, "layers n starts"]:
        """Number of steps that each image took."""
        return (~self.history.isnan()).sum(0).float()


class _Target(NamedTuple):
    """Features to reach in one layer, one for each image, and the error at which to stop."""

    layer: str
    codes: Tensor
    mask: Tensor | None
    stop_below: float

    def mismatch(self, loss: str = "l2") -> objectives.Objective:
        return objectives.match(self.layer, self.codes, loss, self.mask)


def feature_error(
    reached: Float[Tensor, "n ..."],
    wanted: Float[Tensor, "n ..."],
    mask: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, " n"]:
    """Return ||f - f0|| / ||f0|| for each image.

    Args:
        reached: features f of the reconstructed images.
        wanted: features f0 to reach.
        mask: weight of each feature; 1 by default.

    Source: Mahendran and Vedaldi 2016, normalized reconstruction error.
    """
    if mask is not None:
        reached, wanted = reached * mask.to(reached), wanted * mask.to(wanted)
    size = wanted.flatten(1).norm(dim=1).clamp(min=1e-12)
    return ((reached - wanted).flatten(1).norm(dim=1) / size).cpu()


def subset(
    codes: Mapping[str, Tensor], count: int, layers: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Return codes, or inverted images, of the first images in some layers.

    Args:
        codes: layer -> (n, ...).
        count: number of images.
        layers: the layers, each once; all if empty.
    """
    return {layer: codes[layer][:count] for layer in dict.fromkeys(layers or codes)}


@with_gradients
def invert(
    model: Model,
    codes: Mapping[str, Float[Tensor, "n ..."]],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    starts: int | Images = 1,
    masks: Mapping[str, Float[Tensor, "..."]] | None = None,
    stop_below: float | Mapping[str, float] = EXACT_ERROR,
    options: Options = DEFAULT_OPTIONS,
) -> Inversion:
    """Reconstruct images from features.

    Args:
        model: the network.
        codes: layer -> (n, ...) features to reach, as from `core.features.extract`.
        recipe: a name in `RECIPES`, or a recipe of your own.
        steps: total number of steps, distributed over the recipe's phases; None for the recipe's.
        starts: number of random starts for each code, or (starts, 3, size, size) images to start
            from, the same ones for every code.
        masks: layer -> weight of each feature, see `objectives.match`; 1 by default.
        stop_below: error at which an image is finished, for all layers or by layer.
        options: seed, memory limit and callbacks. Start s of every code uses the seed `seed + s`;
            progress is counted within each phase.

    Raises:
        InputError: different numbers of codes, or codes that do not fit their layer.
        NameNotFound: no such layer or recipe.

    Source: Mahendran and Vedaldi 2015 and 2016; survey section 5, figure F9.
    """
    recipe = choose("recipe", recipe, RECIPES).with_steps(steps)
    shape = _count_codes(codes), starts if isinstance(starts, int) else len(starts)
    limits = stop_below if isinstance(stop_below, Mapping) else dict.fromkeys(codes, stop_below)
    targets = {
        layer: _Target(
            layer,
            code.repeat_interleave(shape[1], 0),
            (masks or {}).get(layer),
            limits.get(layer, EXACT_ERROR),
        )
        for layer, code in codes.items()
    }
    images, histories, interrupted = {}, {}, False
    for shift, layers in _layers_by_shift(model, codes, recipe).items():
        chosen = [targets[layer] for layer in layers]
        result = _minimize(model, chosen, _with_shift(recipe, shift), starts, options)
        images |= zip(layers, result.images.chunk(len(layers)), strict=True)
        histories |= zip(layers, result.monitored.chunk(len(layers), 1), strict=True)
        interrupted |= result.interrupted
    errors = []
    for layer, target in targets.items():
        reached = features.extract(model, images[layer], [layer])[layer]
        errors.append(feature_error(reached, target.codes, target.mask))
    history = pad_sequence([histories[layer] for layer in codes], padding_value=torch.nan)
    return Inversion(
        tuple(codes),
        torch.stack([images[layer] for layer in codes]).unflatten(1, shape),
        torch.stack(errors).unflatten(1, shape),
        history.sqrt().unflatten(2, shape),
        interrupted,
    )


@with_gradients
def invert_by_each(
    model: Model,
    codes: Mapping[str, Float[Tensor, "n ..."]],
    recipes: Mapping[str, Recipe] = COMPARED_RECIPES,
    *,
    steps_fraction: float = 1.0,
    options: Options = DEFAULT_OPTIONS,
) -> dict[str, Inversion]:
    """Invert the same codes by several recipes.

    Args:
        model: the network.
        codes: layer -> (n, ...) features to reach.
        recipes: name -> recipe; those of the literature by default.
        steps_fraction: fraction of each recipe's own number of steps that is made.
        options: see `invert`.

    Returns:
        Name of the recipe -> inversion.
    """
    return {
        name: invert(
            model,
            codes,
            recipe=recipe,
            steps=round(steps_fraction * recipe.steps),
            options=options,
        )
        for name, recipe in recipes.items()
    }


def _count_codes(codes: Mapping[str, Tensor]) -> int:
    counts = {layer: len(code) for layer, code in codes.items()}
    if len(set(counts.values())) != 1:
        given = ", ".join(f"{count} for {layer}" for layer, count in counts.items()) or "none"
        raise InputError(f"codes: {given}; expected the same number for every layer")
    return next(iter(counts.values()))


def _layers_by_shift(
    model: Model, layers: Mapping[str, Tensor], recipe: Recipe
) -> dict[int, list[str]]:
    """Group layers by the maximum shift of their images, because a batch has a single one."""
    fraction = max(recipe.jitter, default=0)
    if not fraction:
        return {0: list(layers)}
    groups: dict[int, list[str]] = {}
    rows = receptive_field.layer_table(model, model.card.input_size)
    coarsest = max((_stride(row) for row in rows if len(row.shape) > 1), default=0) or 1
    for layer in layers:
        name = f"{hooks.resolve(model, layer)}."
        inside = [row for row in rows if f"{row.name}.".startswith(name)]
        # A fully connected layer has no stride; the stride of the coarsest map is used.
        stride = _stride(inside[-1]) if inside else 0
        groups.setdefault(max(1, round(fraction * (stride or coarsest))), []).append(layer)
    return groups


def _stride(row: receptive_field.LayerRow) -> int:
    return row.field.stride[0] if row.field else 0


def _with_shift(recipe: Recipe, shift: int) -> Recipe:
    """Return the recipe with shifts of up to `shift` pixels in its phases with jitter."""
    roll = transforms.roll(shift)
    phases = [
        replace(phase, transform=roll) if jitter else phase
        for phase, jitter in zip(recipe.phases, recipe.jitter, strict=False)
    ]
    return replace(recipe, phases=(*phases, *recipe.phases[len(phases) :]))


def _minimize(
    model: Model,
    targets: Sequence[_Target],
    recipe: Recipe,
    starts: int | Images,
    options: Options,
) -> AscentResult:
    """Optimize the images of some layers in one batch."""
    scores, errors, limits = [], [], []
    for target in targets:
        score, count = -recipe.data * target.mismatch(recipe.loss), len(target.codes)
        if recipe.regularizer:
            score = score - recipe.regularizer(relative_depth(model, target.layer))
        scores.append((score, count))
        errors.append((target.mismatch(), count))
        limits += [target.stop_below**2] * count
    if isinstance(starts, int):
        seeds = [options.seed + start for start in range(starts)] * (len(limits) // starts)
        space = recipe.start(seeds, model.card.input_size, model.device, model.channels)
    else:
        repeated = starts.repeat(len(limits) // len(starts), 1, 1, 1)
        space = recipe.start_from(repeated.to(model.device))
    monitor = Monitor(objectives.per_image(errors), torch.tensor(limits))
    return recipe.run(model, objectives.per_image(scores), space, options, monitor)
