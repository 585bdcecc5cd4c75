"""Generator codes of real images, and the bounds estimated from them."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int, features
from ...models import Model, generators

AUTHORS_BOUND = 11.85  # the authors' mean upper bound for CaffeNet's fc6 codes


@dataclass(frozen=True)
class CodeBounds:
    """The range of each element of a code.

    Attributes:
        low: (*code) lower bound; 0 for rectified codes.
        high: (*code) upper bound; in the authors' scripts, mean + 3 standard deviations over a
            dataset.
    """

    low: Tensor
    high: Tensor

    @property
    def scale(self) -> float:
        """Scale of these codes relative to the authors', by which steps and starts are multiplied.

        The authors' bounds for fc6 are 11.85 on average; their step size is 8.
        """
        return float(self.high.mean()) / AUTHORS_BOUND


@torch.no_grad()
def encode(
    encoder: Model,
    generator: generators.Generator,
    batches: Iterable[tuple[Int[Tensor, " n"], Images]],
) -> Float[Tensor, "n ..."]:
    """Return the generator codes of a dataset's images.

    Args:
        encoder: the network whose codes the generator reads, `generator.spec.encoder`.
        generator: determines the layer and the shape of the codes.
        batches: (indices, images) pairs.

    Raises:
        InputError: the encoder's codes have another shape.
    """
    layer, expected = generator.spec.layer, generator.spec.code
    codes = [features.extract(encoder, images, [layer])[layer].cpu() for _, images in batches]
    shape = tuple(codes[0].shape[1:])
    if shape != expected:
        raise InputError(
            f"{encoder.card.name} gives codes of shape {shape} at {layer}; {generator.name} reads "
            f"{expected} of {generator.spec.encoder}; load that network as the encoder"
        )
    return torch.cat(codes)


def fit_bounds(codes: Float[Tensor, "n ..."], sigmas: float = 3.0) -> CodeBounds:
    """Return bounds around the mean of each element of the codes.

    The upper bound is mean + `sigmas` standard deviations; the lower bound is 0 for rectified
    codes, otherwise mean - `sigmas` standard deviations.

    Source: Nguyen et al. 2016, files act_range/3x.
    """
    mean, std = codes.mean(0), codes.std(0)
    low = mean - sigmas * std if bool((codes < 0).any()) else torch.zeros_like(mean)
    return CodeBounds(low, mean + sigmas * std)
