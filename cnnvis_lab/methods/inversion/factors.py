"""Which of the factors planted in pictures can still be read from each layer's features.

No picture is inverted for this: what no reader finds in the features, no inversion can show.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, InputError, Int, regression
from ...data.scenes import LABELS, SceneImage

RIDGE_STRENGTHS = tuple(10.0**power for power in range(-3, 4))


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


def planted_factors(truth: Sequence[SceneImage]) -> dict[str, Factor]:
    """Return what was planted in pictures of the embedded world, such as `PictureSet.picture`'s."""
    colors = LABELS["color"]
    kinds = {
        "class": [picture.class_index for picture in truth],
        "scene": [picture.scene - 1 for picture in truth],
        "background color": [colors.index(picture.background_color) for picture in truth],
        "object color": [_main_object(picture).surface.color_label for picture in truth],
        "texture": [_main_object(picture).surface.texture_label for picture in truth],
    }
    quantities = {
        "position": [
            (_main_object(picture).pose.x, _main_object(picture).pose.y) for picture in truth
        ],
        "size": [(_main_object(picture).pose.scale,) for picture in truth],
        "light direction": [(picture.light.x, picture.light.y) for picture in truth],
        "light warmth": [(picture.light.tint[0] - picture.light.tint[2],) for picture in truth],
    }
    asked = {name: Factor(torch.tensor(values), False) for name, values in kinds.items()}
    free = {name: Factor(torch.tensor(values).float(), True) for name, values in quantities.items()}
    return asked | free


def _main_object(picture: SceneImage) -> object:
    return picture.objects[picture.main]


class _Split(NamedTuple):
    """Which pictures are learnt from, which choose the strength, and which are held out."""

    learn: Tensor
    check: Tensor
    held: Tensor

    @property
    def known(self) -> Tensor:
        return torch.cat([self.learn, self.check])


def _split(count: int, train_fraction: float, seed: int) -> _Split:
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    cut = round(train_fraction * count)
    inner = round(0.8 * cut)
    return _Split(drawn[:inner], drawn[inner:cut], drawn[cut:])


def readability(
    features: Float[Tensor, "n ..."],
    factor: Factor | Tensor,
    *,
    train_fraction: float = 0.6,
    seed: int = 0,
) -> float:
    """Return how well a factor can be read linearly from features, on pictures held out.

    Ridge regression; its strength is chosen on a fifth of the training pictures.

    Args:
        features: of every picture, of any shape.
        factor: what to read: (n,) whole numbers for a kind, (n, k) for a quantity.
        train_fraction: share of the pictures to learn from.
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
    return _held_out_score(
        _gram_matrix(features), values, _split(len(values), train_fraction, seed)
    )


def readability_by_layer(
    features: Mapping[str, Tensor], factors: Mapping[str, Factor], *, seed: int = 0
) -> dict[str, list[float]]:
    """Return, per factor, how well it is read from each layer; see `readable`."""
    found: dict[str, list[float]] = {name: [] for name in factors}
    for layer in features.values():
        products, split = _gram_matrix(layer), _split(len(layer), 0.6, seed)
        for name, factor in factors.items():
            found[name].append(_held_out_score(products, factor.values, split))
    return found


def _gram_matrix(features: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """Inner products of all pictures' features: features are many, pictures few."""
    flat = features.flatten(1).double().cpu()
    return flat @ flat.T


def _held_out_score(products: Float[Tensor, "n n"], values: Tensor, split: _Split) -> float:
    targets = _regression_targets(values)
    tried = [
        _score(
            regression.dual_ridge_predictions(products, targets, split.learn, split.check, r),
            values,
            *split[:2],
        )
        for r in RIDGE_STRENGTHS
    ]
    best = RIDGE_STRENGTHS[max(range(len(RIDGE_STRENGTHS)), key=tried.__getitem__)]
    told = regression.dual_ridge_predictions(products, targets, split.known, split.held, best)
    return _score(told, values, split.known, split.held)


def _regression_targets(values: Tensor) -> Float[Tensor, "n k"]:
    if values.ndim > 1:
        return values.double()
    return functional.one_hot(values.long(), int(values.max()) + 1).double()


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
