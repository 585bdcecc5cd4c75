"""Images reconstructed from perturbed activations, with a decoder or by optimization."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...core import Float, Images, image_metrics, perturbations
from ...core.optimization import Options
from ...models import Model
from ...models.generators import Generator
from .. import inversion
from .cases import Case, perturbed_codes

Reconstructions = Float[Tensor, "cases n 3 h w"]


@torch.no_grad()
def reconstruct_by_decoder(
    model: Model,
    layer: str,
    images: Images,
    cases: Sequence[Case],
    decoder: Generator,
    *,
    seed: int = 0,
) -> Reconstructions:
    """Reconstruct images with a decoder, after each of some perturbations.

    Args:
        model: the network.
        layer: dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        cases: the perturbations.
        decoder: decoder of the layer.
        seed: of random choices.
    """
    codes = perturbed_codes(model, layer, images, cases, seed=seed)
    return torch.stack([decoder.draw(code).cpu() for code in codes])


def reconstruct_by_optimization(
    model: Model,
    layers: Sequence[str],
    images: Images,
    cases: Sequence[Case],
    *,
    recipe: str | inversion.Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
) -> dict[str, Reconstructions]:
    """Reconstruct images by inversion of each layer, after each of some perturbations.

    All layers, perturbations and images are optimized in one batch. If a perturbation sets all
    activations to zero, there is nothing to invert, and the image is gray.

    Args:
        model: the network.
        layers: dotted names or aliases.
        images: (n, 3, size, size) in [0, 1].
        cases: the perturbations.
        recipe: how to optimize, see `inversion.invert`.
        steps: number of steps; None for the recipe's.
        seed: of random choices.
    """
    codes = {
        layer: perturbed_codes(model, layer, images, cases, seed=seed).flatten(0, 1)
        for layer in layers
    }
    empty = {layer: perturbations.norms(code).flatten().cpu() == 0 for layer, code in codes.items()}
    for layer, code in codes.items():
        code[empty[layer]] = 1
    result = inversion.invert(model, codes, recipe=recipe, steps=steps, options=Options(seed))
    reconstructions = {}
    for layer in layers:
        inverted = result[layer].clamp(0, 1).cpu()
        inverted[empty[layer]] = 0.5
        reconstructions[layer] = inverted.unflatten(0, (len(cases), -1))
    return reconstructions


def errors_by_case(
    reconstructions: Reconstructions, images: Images, unit: float
) -> Float[Tensor, " cases"]:
    """Return the mean pixel distance between images and reconstructions, for each perturbation.

    Args:
        reconstructions: (cases, n, 3, size, size).
        images: (n, 3, size, size) the original images.
        unit: distance that counts as 1, see `core.image_metrics.mean_pairwise_distance`.
    """
    distances = [image_metrics.distance(own, images.cpu(), unit) for own in reconstructions]
    return torch.stack([distance.mean() for distance in distances])
