"""Which of the factors planted in pictures can still be read from each layer's features.

No picture is inverted for this: what no reader finds in the features, no inversion can show.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import InputError
from ..core.shapes import Float, Int
from ..data.scenes.world import LABELS, Picture

RIDGES = tuple(10.0**power for power in range(-3, 4))


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


def planted_factors(truth: Sequence[Picture]) -> dict[str, Factor]:
    """Return what was planted in pictures of the embedded world, such as `PictureSet.picture`'s."""
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


class _Split(NamedTuple):
    """Which pictures are learnt from, which choose the strength, and which are held out."""

    learn: Tensor
    check: Tensor
    held: Tensor

    @property
    def known(self) -> Tensor:
        return torch.cat([self.learn, self.check])


def _split(count: int, train_share: float, seed: int) -> _Split:
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    cut = round(train_share * count)
    inner = round(0.8 * cut)
    return _Split(drawn[:inner], drawn[inner:cut], drawn[cut:])


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
    return _read(_products(features), values, _split(len(values), train_share, seed))


def readable_by_layer(
    features: Mapping[str, Tensor], factors: Mapping[str, Factor], *, seed: int = 0
) -> dict[str, list[float]]:
    """Return, per factor, how well it is read from each layer; see `readable`."""
    found: dict[str, list[float]] = {name: [] for name in factors}
    for layer in features.values():
        products, split = _products(layer), _split(len(layer), 0.6, seed)
        for name, factor in factors.items():
            found[name].append(_read(products, factor.values, split))
    return found


def _products(features: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """Inner products of all pictures' features: features are many, pictures few."""
    flat = features.flatten(1).double().cpu()
    return flat @ flat.T


def _read(products: Float[Tensor, "n n"], values: Tensor, split: _Split) -> float:
    targets = _targets(values)
    tried = [
        _score(_ridge(products, targets, split.learn, split.check, r), values, *split[:2])
        for r in RIDGES
    ]
    best = RIDGES[max(range(len(RIDGES)), key=tried.__getitem__)]
    told = _ridge(products, targets, split.known, split.held, best)
    return _score(told, values, split.known, split.held)


def _targets(values: Tensor) -> Float[Tensor, "n k"]:
    if values.ndim > 1:
        return values.double()
    return functional.one_hot(values.long(), int(values.max()) + 1).double()


def _ridge(
    products: Float[Tensor, "n n"],
    targets: Float[Tensor, "n k"],
    learn: Int[Tensor, " a"],
    test: Int[Tensor, " b"],
    strength: float,
) -> Float[Tensor, "b k"]:
    """Predict by ridge regression on features less their mean, in its dual form."""
    own, other = products[learn][:, learn], products[test][:, learn]
    own = own - own.mean(0)  # the mean feature taken off on one side, then on the other
    other = other - products[learn][:, learn].mean(0)
    gram, across = (part - part.mean(1, keepdim=True) for part in (own, other))
    offset = targets[learn].mean(0)
    ridge = strength * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram)).to(gram)
    return across @ torch.linalg.solve(gram + ridge, targets[learn] - offset) + offset


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
