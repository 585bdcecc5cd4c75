"""Images reconstructed from perturbed activations, with a decoder or by optimization."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, Images, image_metrics, perturbations
from ...core.optimization import Options
from ...models import Model
from ...models.generators import Generator
from .. import inversion
from .cases import Case, perturbed_codes
from .outcomes import Outcome, Outcomes

ByCase = Float[Tensor, "cases n c h w"]
METHODS = ("decoder", "optimization")


@dataclass(frozen=True)
class Reconstructions:
    """Images reconstructed from perturbed activations.

    Attributes:
        images: (n, 3, size, size) the original images.
        cases: name -> perturbation.
        by_method: method, one of `METHODS` -> layer -> reconstructions. Layers without a decoder
            are missing there.
        unit: unit of the errors.
    """

    images: Images
    cases: Mapping[str, Case]
    by_method: Mapping[str, Mapping[str, ByCase]]
    unit: float

    def errors(self, method: str) -> dict[str, Float[Tensor, "cases n"]]:
        """Return layer -> pixel distance between images and reconstructions by one method."""
        images = self.images.cpu()
        return {
            layer: torch.stack([image_metrics.distance(own, images, self.unit) for own in by_case])
            for layer, by_case in self.by_method[method].items()
        }

    def outcomes(self) -> Outcomes:
        """Return the mean errors of optimization; accuracies are unknown."""
        return Outcomes(
            {
                layer: {
                    case: Outcome(error, math.nan)
                    for case, error in zip(
                        self.cases.values(), errors.mean(1).tolist(), strict=True
                    )
                }
                for layer, errors in self.errors("optimization").items()
            },
            self.unit,
        )


def reconstruct(
    model: Model,
    layers: Mapping[str, str],
    images: Images,
    cases: Mapping[str, Case],
    *,
    decoders: Mapping[str, Generator],
    unit: float = 1.0,
    steps: int | None = None,
    seed: int = 0,
) -> Reconstructions:
    """Reconstruct images from perturbed activations of layers, by decoders and by optimization.

    Args:
        model: the network.
        layers: label -> dotted name or alias.
        images: (n, 3, size, size) in [0, 1].
        cases: name -> perturbation.
        decoders: layer -> its decoder; layers may be missing.
        unit: unit of the errors, see `core.image_metrics.mean_pairwise_distance`.
        steps: number of optimization steps; None for the recipe's.
        seed: of random choices.
    """
    chosen = list(cases.values())
    decoded = {
        label: reconstruct_by_decoder(model, layer, images, chosen, decoders[layer], seed=seed)
        for label, layer in layers.items()
        if layer in decoders
    }
    optimized = reconstruct_by_optimization(
        model, list(layers.values()), images, chosen, steps=steps, seed=seed
    )
    labeled = {label: optimized[layer] for label, layer in layers.items()}
    by_method = dict(zip(METHODS, (decoded, labeled), strict=True))
    return Reconstructions(images, cases, by_method, unit)


@torch.no_grad()
def reconstruct_by_decoder(
    model: Model,
    layer: str,
    images: Images,
    cases: Sequence[Case],
    decoder: Generator,
    *,
    seed: int = 0,
) -> ByCase:
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
    steps: int | None = None,
    seed: int = 0,
) -> dict[str, ByCase]:
    """Reconstruct images by inversion of each layer, after each of some perturbations.

    All layers, perturbations and images are optimized in one batch. If a perturbation sets all
    activations to zero, there is nothing to invert, and the image is gray.

    Args:
        model: the network.
        layers: dotted names or aliases.
        images: (n, 3, size, size) in [0, 1].
        cases: the perturbations.
        steps: see `inversion.invert`.
        seed: of random choices.
    """
    codes = {
        layer: perturbed_codes(model, layer, images, cases, seed=seed).flatten(0, 1)
        for layer in layers
    }
    empty = {layer: perturbations.norms(code).flatten().cpu() == 0 for layer, code in codes.items()}
    for layer, code in codes.items():
        code[empty[layer]] = 1
    result = inversion.invert(model, codes, steps=steps, options=Options(seed))
    reconstructions = {}
    for layer in layers:
        inverted = result[layer].clamp(0, 1).cpu()
        inverted[empty[layer]] = 0.5
        reconstructions[layer] = inverted.unflatten(0, (len(cases), -1))
    return reconstructions
