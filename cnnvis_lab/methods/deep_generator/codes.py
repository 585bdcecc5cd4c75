"""Generator codes of real images, and the bounds estimated from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Float, Images, InputError, Int, Missing, features, passes_missing
from ...data import ImageSet, scenes
from ...models import Model, generators, trained
from ...models import load as load_model

AUTHORS_BOUND = 11.85  # the authors' mean upper bound for CaffeNet's fc6 codes
IMAGE_LOSS_ONLY = "generator_FL1_image_loss"  # the one that was trained without other losses
# Shipped generators, in the order of their layers.
SHIPPED = ("generator_FL1", "generator_CL5", "generator_FL2", "generator_FL3", IMAGE_LOSS_ONLY)


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


def load(
    name: str, weights: Sequence[str] = (), device: str = "cpu", model: Model | None = None
) -> tuple[generators.Generator | Missing, Model]:
    """Load a generator and its encoder, the network whose codes it reads.

    Args:
        name: as for `models.generators.load`, or a file of `cnnvis train generator`; empty for the
            shipped generator, if the network has the classes of the images that it draws.
        weights: files of the generator's and the encoder's weights; none for shipped ones, and for
            a network that is given.
        device: torch device.
        model: the network whose units are maximized; also the encoder, if the generator reads its
            codes.

    Returns:
        Generator and encoder. If no generator is named and none is shipped for the network: how to
        train one, and the network itself.

    Raises:
        InputError: weights are required and not given, more than two are given, or the encoder's
            are not those that the generator was trained on.
    """
    if len(weights) > 2:
        raise InputError(
            f"{len(weights)} weights files: expected the generator's and the encoder's"
        )
    own, of_encoder = [*weights, "", ""][:2]
    if not name and model and model.card.classes != tuple(scenes.CLASS_NAMES):
        return Missing(trained.how_to_train("generator", model)), model
    name = name or SHIPPED[0]
    if not trained.is_file(name):
        generator = generators.load(name, weights=own, device=device)
        return generator, load_model(generator.spec.encoder, weights=of_encoder, device=device)
    generator = trained.load(name, "generator", device=device)
    if model and trained.fits(generator, model):
        return generator, model
    encoder = load_model(generator.spec.encoder, weights=of_encoder, device=device)
    if not trained.fits(generator, encoder):
        raise InputError(
            f"{name} reads codes of {generator.spec.encoder} with other weights; give the weights "
            "file on which it was trained"
        )
    return generator, encoder


@passes_missing
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


@passes_missing
def fit_bounds(codes: Float[Tensor, "n ..."]) -> CodeBounds:
    """Return bounds around the mean of each element of the codes.

    The upper bound is mean + 3 standard deviations; the lower bound is 0 for rectified codes,
    otherwise mean - 3 standard deviations.

    Source: Nguyen et al. 2016, files act_range/3x.
    """
    mean, reach = codes.mean(0), 3 * codes.std(0)
    low = mean - reach if bool((codes < 0).any()) else torch.zeros_like(mean)
    return CodeBounds(low, mean + reach)


@dataclass(frozen=True)
class Prior:
    """A generator with codes of real images, which determine the bounds of codes.

    Attributes:
        generator: generates images from codes.
        bounds: see `fit_bounds`.
        codes: (n, *code) codes of a dataset's images.
    """

    generator: generators.Generator
    bounds: CodeBounds
    codes: Tensor


def other_priors(
    generator: generators.Generator | Missing, encoder: Model, images: ImageSet, count: int
) -> dict[str, Prior]:
    """Return shipped generators for other codes of the same encoder, with codes of a dataset.

    Args:
        generator: the generator that is not returned; without one, there are no others either.
        encoder: the network whose codes it reads.
        images: the dataset.
        count: maximum number of generators.

    Returns:
        Name -> generator and codes; empty if none are shipped for the encoder.
    """
    if isinstance(generator, Missing):
        return {}
    fitting = [name for name in SHIPPED if generators.SPECS[name].encoder == generator.spec.encoder]
    priors = {}
    for name in [name for name in fitting if name != generator.name][:count]:
        other = generators.load(name, device=str(encoder.device))
        codes = encode(encoder, other, images.batches(50))
        priors[name] = Prior(other, fit_bounds(codes), codes)
    return priors
