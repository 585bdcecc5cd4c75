"""Pictures of changed codes: drawn by a decoder, or found by descent."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...core import Float, Images, image_metrics, perturbations
from ...models import Model, generators
from .. import inversion
from ..inversion import Recipe
from .cases import Case, perturbed_codes

Reconstructions = Float[Tensor, "cases n 3 h w"]


@torch.no_grad()
def reconstruct_by_decoder(
    model: Model,
    layer: str,
    images: Images,
    cases: Sequence[Case],
    painter: generators.Generator,
    *,
    seed: int = 0,
) -> Reconstructions:
    """Return what a decoder draws of the pictures' codes after each change.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: pictures in [0, 1].
        cases: what is done to their codes.
        painter: decoder of the layer.
        seed: of what is drawn at random.
    """
    codes = perturbed_codes(model, layer, images, cases, seed=seed)
    return torch.stack([painter.draw(code).cpu() for code in codes])


def reconstruct_by_optimization(
    model: Model,
    layers: Sequence[str],
    images: Images,
    cases: Sequence[Case],
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
) -> dict[str, Reconstructions]:
    """Return, layer by layer, what descent finds for the pictures' codes after each change.

    All layers, changes and pictures move in one batch. Where a change leaves nothing of a code
    there is nothing to come near to, and the picture is gray.

    Args:
        model: the network.
        layers: dotted names or aliases.
        images: pictures in [0, 1].
        cases: what is done to their codes.
        recipe: how to descend, see `inversion.invert`.
        steps: instead of the recipe's.
        seed: of what is drawn at random.
    """
    codes = {
        layer: perturbed_codes(model, layer, images, cases, seed=seed).flatten(0, 1)
        for layer in layers
    }
    empty = {layer: perturbations.norms(code).flatten().cpu() == 0 for layer, code in codes.items()}
    for layer, code in codes.items():
        code[empty[layer]] = 1
    result = inversion.invert(model, codes, recipe=recipe, steps=steps, seed=seed)
    pictures = {layer: result[layer].clamp(0, 1).cpu() for layer in layers}
    for layer, nothing in empty.items():
        pictures[layer][nothing] = 0.5
    return {layer: own.unflatten(0, (len(cases), -1)) for layer, own in pictures.items()}


def errors_by_case(shown: Reconstructions, images: Images, unit: float) -> Float[Tensor, " cases"]:
    """Return, case by case, the mean distance between pictures and what is shown of their codes.

    Args:
        shown: pictures for each case.
        images: the pictures themselves.
        unit: see `core.measures.distance_unit`.
    """
    return torch.stack([image_metrics.distance(own, images.cpu(), unit).mean() for own in shown])
