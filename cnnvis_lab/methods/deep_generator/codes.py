"""Generator codes of real images, and the bounds estimated from them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int, hooks
from ...models import Model, generators

SIGMAS = 3.0
AUTHORS_BOUND = 11.85  # mean upper bound of CaffeNet's fc6 codes


@dataclass(frozen=True)
class CodeBounds:
    """How far each number of a code may go.

    Attributes:
        low: (*code) smallest value: 0 for rectified codes.
        high: (*code) largest value, mean + 3 sigma over a data set in the authors' scripts.
    """

    low: Tensor
    high: Tensor

    @property
    def unit(self) -> float:
        """What the number 1 of the authors' codes is in these: step sizes and starts scale by it.

        Their bounds for fc6 are 11.85 on average, their step size 8.
        """
        return float(self.high.mean()) / AUTHORS_BOUND


@torch.no_grad()
def encode(
    encoder: Model,
    generator: generators.Generator,
    batches: Iterable[tuple[Int[Tensor, " n"], Images]],
) -> Float[Tensor, "n ..."]:
    """Return the codes a generator reads, of the pictures of a data set.

    Args:
        encoder: the network the generator was trained on, `generator.spec.encoder`.
        generator: says which layer.
        batches: (indices, images) as data sets give them.

    Raises:
        InputError: the encoder's codes have another shape.
    """
    layer, wanted = generator.spec.layer, generator.spec.code
    codes = [
        hooks.activations(encoder, images.to(encoder.device), [layer])[layer].cpu()
        for _, images in batches
    ]
    found = tuple(codes[0].shape[1:])
    if found != wanted:
        raise InputError(
            f"{encoder.card.name} gives codes of shape {found} at {layer}; {generator.name} reads "
            f"{wanted} of {generator.spec.encoder}; load that network as the encoder"
        )
    return torch.cat(codes)


def fit_bounds(codes: Float[Tensor, "n ..."], sigmas: float = SIGMAS) -> CodeBounds:
    """Return mean + `sigmas` deviations of each number of the codes, and 0 or mean - as much.

    Source: Nguyen et al. 2016, their files act_range/3x.
    """
    mean, spread = codes.mean(0), codes.std(0)
    low = mean - sigmas * spread if bool((codes < 0).any()) else torch.zeros_like(mean)
    return CodeBounds(low, mean + sigmas * spread)
