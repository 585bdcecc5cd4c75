"""What one asks of inverted codes: how near, how alike, what of colour, place and class is left.

Beside them what needs no picture: which planted factors can be read from each layer's features.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core import measures
from ..core.errors import InputError
from ..core.shapes import Float, Images, Int
from ..data.scenes.sets import PictureSet
from ..data.scenes.world import LABELS, Picture
from ..models import Model
from .inversion import encode

RIDGES = tuple(10.0**power for power in range(-3, 4))


def pixel_error(
    found: Float[Tensor, "m 3 h w"], images: Images, unit: float
) -> Float[Tensor, " m"]:
    """Return how far pictures are from those they should be, as shown, cut to [0, 1].

    Args:
        found: inverted pictures, as many for each of `images`, one after the other.
        images: the pictures themselves.
        unit: `core.measures.distance_unit` of a set of pictures: 1 is another picture.

    Source: Dosovitskiy and Brox 2016, normalised reconstruction error.
    """
    return measures.distance(found.clamp(0, 1).cpu(), _each(images, found), unit)


def _each(images: Images, found: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m 3 h w"]:
    if len(found) % len(images):
        raise InputError(
            f"{len(found)} pictures found for {len(images)}: expected as many for each"
        )
    return images.cpu().repeat_interleave(len(found) // len(images), 0)


@torch.no_grad()
def consistency(
    model: Model, found: Float[Tensor, "m 3 h w"], images: Images
) -> Float[Tensor, " m"]:
    """Return 1 where the network names the found picture as the picture itself, else 0.

    Source: Mahendran and Vedaldi 2016, classification consistency.
    """
    both = [encode(model, ["logits"], part)["logits"].flatten(1) for part in (found, images)]
    named, wanted = (scores.argmax(1).cpu() for scores in both)
    return (named == wanted.repeat_interleave(len(named) // len(wanted), 0)).float()


def color_kept(
    found: Float[Tensor, "m 3 h w"], images: Images, grid: int = 4
) -> Float[Tensor, " m"]:
    """Return the correlation of coarse colours, each channel's less the picture's gray.

    Args:
        found: inverted pictures, as many for each of `images`.
        images: the pictures themselves.
        grid: fields a side over which colours are averaged.
    """
    pair = []
    for pictures in (found.clamp(0, 1).cpu(), _each(images, found)):
        coarse = functional.adaptive_avg_pool2d(pictures, grid)
        pair.append(coarse - coarse.mean(1, keepdim=True))
    return measures.correlation(*pair)


def centroid(images: Images) -> Float[Tensor, "n 2"]:
    """Return (x, y) of what stands out from the border's mean colour, 0 to 1 across the picture."""
    edge = torch.ones(images.shape[-2:], dtype=torch.bool)
    edge[4:-4, 4:-4] = False
    border = images[..., edge].mean(-1)[..., None, None]
    weight = (images - border).square().sum(1)
    weight = weight / weight.sum((1, 2), keepdim=True).clamp(min=1e-12)
    axes = [torch.linspace(0, 1, side).to(images) for side in images.shape[-2:]]
    return torch.stack([(weight.sum(1) * axes[1]).sum(1), (weight.sum(2) * axes[0]).sum(1)], 1)


def position_error(found: Float[Tensor, "m 3 h w"], images: Images) -> Float[Tensor, " m"]:
    """Return how far what stands out has moved, as a share of the picture's side."""
    wanted = centroid(_each(images, found))
    return (centroid(found.clamp(0, 1).cpu()) - wanted).norm(dim=1)


def spread(found: Float[Tensor, "n starts 3 h w"], unit: float) -> Float[Tensor, " n"]:
    """Return the mean distance between the pictures that different starts lead to.

    Args:
        found: at least two starts for each code.
        unit: as in `pixel_error`.
    """
    if found.shape[1] < 2:
        raise InputError("the spread between starts needs two of them at least")
    apart = [torch.pdist(group.clamp(0, 1).flatten(1).cpu()).mean() for group in found]
    return torch.stack(apart) / unit


class Factor(NamedTuple):
    """Something planted in pictures.

    Attributes:
        values: (n,) whole numbers for a kind, (n, k) for a quantity.
        nuisance: whether the shipped networks were never asked for it.
    """

    values: Tensor
    nuisance: bool

    @property
    def is_kind(self) -> bool:
        """Whether it is one of several kinds rather than a quantity."""
        return self.values.ndim == 1


def planted_factors(pictures: PictureSet, indices: Sequence[int]) -> dict[str, Factor]:
    """Return what was planted in pictures of the embedded world, drawing them anew.

    Args:
        pictures: the set.
        indices: which of its pictures.
    """
    truth = [pictures.picture(int(index)) for index in indices]
    colors = LABELS["color"]
    kinds = {
        "class": [picture.class_index for picture in truth],
        "scene": [picture.scene - 1 for picture in truth],
        "background color": [colors.index(picture.background_color) for picture in truth],
        "object color": [_main(picture).surface.color_label for picture in truth],
        "texture": [_main(picture).surface.texture_label for picture in truth],
    }
    quantities = {
        "position": [(_main(picture).pose.x, _main(picture).pose.y) for picture in truth],
        "size": [(_main(picture).pose.scale,) for picture in truth],
        "light direction": [(picture.light.x, picture.light.y) for picture in truth],
        "light warmth": [(picture.light.tint[0] - picture.light.tint[2],) for picture in truth],
    }
    asked = {name: Factor(torch.tensor(values), False) for name, values in kinds.items()}
    free = {name: Factor(torch.tensor(values).float(), True) for name, values in quantities.items()}
    return asked | free


def _main(picture: Picture) -> object:
    return picture.objects[picture.main]


def readable(
    features: Float[Tensor, "n ..."],
    factor: Factor | Tensor,
    *,
    train_share: float = 0.6,
    seed: int = 0,
) -> float:
    """Return how well a factor can be read linearly from features, on pictures held out.

    Ridge regression; its strength is chosen on a fifth of the training pictures.

    Args:
        features: of every picture, of any shape.
        factor: what to read: (n,) whole numbers for a kind, (n, k) for a quantity.
        train_share: share of the pictures to learn from.
        seed: of the split.

    Returns:
        R^2 of a quantity, the mean over its numbers: 0 for a guess of the mean, 1 at best. Of a
        kind, the share named right, less what the commonest kind alone gives, over what is left
        to gain: 0 and 1 mean the same.

    Raises:
        InputError: fewer than 20 pictures, or other numbers of features and values.
    """
    values = factor.values if isinstance(factor, Factor) else factor
    if len(values) != len(features) or len(values) < 20:
        raise InputError(
            f"{len(features)} features for {len(values)} values: expected as many, 20 or more"
        )
    drawn = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
    cut = round(train_share * len(values))
    inner = round(0.8 * cut)
    flat = features.flatten(1).double().cpu()
    targets = _targets(values)
    learn, check, known, held = drawn[:inner], drawn[inner:cut], drawn[:cut], drawn[cut:]
    scores = [_score(_ridge(flat, targets, learn, check, r), values, learn, check) for r in RIDGES]
    best = RIDGES[max(range(len(RIDGES)), key=scores.__getitem__)]
    return _score(_ridge(flat, targets, known, held, best), values, known, held)


def _targets(values: Tensor) -> Float[Tensor, "n k"]:
    if values.ndim > 1:
        return values.double()
    return functional.one_hot(values.long(), int(values.max()) + 1).double()


def _ridge(
    features: Float[Tensor, "n d"],
    targets: Float[Tensor, "n k"],
    learn: Int[Tensor, " a"],
    test: Int[Tensor, " b"],
    strength: float,
) -> Float[Tensor, "b k"]:
    """Predict by ridge regression, in its dual form: features are many, pictures few."""
    mean, offset = features[learn].mean(0), targets[learn].mean(0)
    own, other = features[learn] - mean, features[test] - mean
    gram = own @ own.T
    ridge = strength * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram)).to(gram)
    weights = torch.linalg.solve(gram + ridge, targets[learn] - offset)
    return other @ own.T @ weights + offset


def _score(
    predicted: Float[Tensor, "b k"],
    values: Tensor,
    learn: Int[Tensor, " a"],
    test: Int[Tensor, " b"],
) -> float:
    truth = values[test]
    if values.ndim > 1:
        residual = (predicted - truth).square().sum(0)
        total = (truth - values[learn].double().mean(0)).square().sum(0).clamp(min=1e-12)
        return float((1 - residual / total).mean())
    right = float((predicted.argmax(1) == truth).double().mean())
    guess = float((truth == values[learn].mode().values).double().mean())
    return (right - guess) / max(1 - guess, 1e-12)


def readable_by_layer(
    features: Mapping[str, Tensor], factors: Mapping[str, Factor], *, seed: int = 0
) -> dict[str, list[float]]:
    """Return, per factor, how well it is read from each layer; see `readable`."""
    return {
        name: [readable(values, factor, seed=seed) for values in features.values()]
        for name, factor in factors.items()
    }
