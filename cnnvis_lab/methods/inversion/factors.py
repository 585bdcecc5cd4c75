"""Linear decoding of known factors of synthetic scenes from each layer's features.

This needs no inversion, and complements it: an inversion can show nothing that the features lack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, Int, features, regression
from ...data import images
from ...data.scenes import HELD_OUT_SEED, LABELS, SceneImage, SceneSet
from ...models import Model, knows_scenes

RIDGE_STRENGTHS = tuple(10.0**power for power in range(-3, 4))
# Position and size are not among them: in training, the networks also predict which regions of the
# image the object covers.
NUISANCE = ("light direction", "light warmth", "exposure")
TRAIN_FRACTION = 0.6  # of the images; on a fifth of these the ridge penalty is chosen
MIN_IMAGES = 20
# In the place of a figure of decoding scores.
NO_FACTORS = (
    "Factors are known of synthetic scenes only, which are new to this network: see "
    "inversion.decoding_scores for factors of your own images."
)


class Factor(NamedTuple):
    """A known property of images.

    Attributes:
        values: (n,) integers for a category, (n, k) floats for a quantity.
        nuisance: whether the shipped networks were never trained to predict it.
    """

    values: Tensor
    nuisance: bool


def planted_factors(scenes: Sequence[SceneImage]) -> dict[str, Factor]:
    """Return name -> factor of synthetic scenes, as drawn by `SceneSet.draw`.

    The texture of the object is left out: it cannot be decoded from any layer.
    """
    colors = LABELS["color"]
    main = [scene.objects[scene.main] for scene in scenes]
    categories = {
        "class": [scene.class_index for scene in scenes],
        "scene": [scene.scene - 1 for scene in scenes],
        "background color": [colors.index(scene.background_color) for scene in scenes],
        "object color": [part.surface.color_label for part in main],
    }
    quantities = {
        "position": [(part.pose.x, part.pose.y) for part in main],
        "size": [(part.pose.scale,) for part in main],
        "light direction": [(scene.light.x, scene.light.y) for scene in scenes],
        "light warmth": [(scene.light.tint[0] - scene.light.tint[2],) for scene in scenes],
        "exposure": [(scene.camera.exposure,) for scene in scenes],
    }
    factors = {name: Factor(torch.tensor(values), False) for name, values in categories.items()}
    for name, values in quantities.items():
        factors[name] = Factor(torch.tensor(values).float(), name in NUISANCE)
    return factors


class PlantedScenes(NamedTuple):
    """Synthetic scenes of which everything is known.

    Attributes:
        images: (n, 3, size, size) in [0, 1].
        factors: name -> factor.
    """

    images: Images
    factors: dict[str, Factor]


def planted_scenes(count: int, size: images.Size) -> PlantedScenes:
    """Draw held-out scenes.

    Args:
        count: number of scenes.
        size: pixels of a square image, or (height, width).
    """
    scene_set = SceneSet(HELD_OUT_SEED, count)
    scenes = [scene_set.draw(n) for n in range(count)]
    drawn = images.from_uint8(np.stack([scene.image for scene in scenes]))
    return PlantedScenes(images.resize(drawn, size), planted_factors(scenes))


@dataclass(frozen=True)
class DecodingScores:
    """How well factors can be decoded linearly from each layer's features.

    For a quantity the score is R^2, averaged over its components: 0 for predicting the mean, 1 at
    best. For a category it is (accuracy - chance) / (1 - chance), where chance is the accuracy of
    always predicting the most frequent one.

    Attributes:
        layers: the layers.
        scores: factor -> one score per layer, on the test images.
        nuisance: the factors that the network was never trained to predict.
    """

    layers: tuple[str, ...]
    scores: dict[str, list[float]]
    nuisance: tuple[str, ...]

    def __getitem__(self, factor: str) -> list[float]:
        """Return a factor's scores, one per layer."""
        return self.scores[factor]

    def mean_nuisance(self) -> Float[Tensor, " layers"]:
        """Return the mean score of the nuisance factors in each layer."""
        return torch.tensor([self.scores[name] for name in self.nuisance]).mean(0)


class _Split(NamedTuple):
    """Indices of the images to fit on, to choose the penalty on, and to test on."""

    train: Int[Tensor, " a"]
    validation: Int[Tensor, " b"]
    test: Int[Tensor, " c"]


def _split(count: int, seed: int) -> _Split:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    end = round(TRAIN_FRACTION * count)
    inner = round(0.8 * end)
    return _Split(order[:inner], order[inner:end], order[end:])


def decoding_scores(
    features: Mapping[str, Float[Tensor, "n ..."]], factors: Mapping[str, Factor], *, seed: int = 0
) -> DecodingScores:
    """Measure how well each factor can be decoded linearly from each layer's features.

    The decoder is a ridge regression, whose penalty is chosen on a fifth of the training images.

    Args:
        features: layer -> features of all images.
        factors: name -> factor, with a value for each image.
        seed: seed of the split into training and test images.

    Raises:
        InputError: fewer than 20 images, or different numbers of features and values.
    """
    results: dict[str, list[float]] = {name: [] for name in factors}
    for layer in features.values():
        gram, split = _gram_matrix(layer), _split(len(layer), seed)
        for name, factor in factors.items():
            if len(factor.values) != len(layer) or len(layer) < MIN_IMAGES:
                raise InputError(
                    f"{len(layer)} features for {len(factor.values)} values: expected as many, "
                    f"{MIN_IMAGES} or more"
                )
            results[name].append(_test_score(gram, factor.values, split))
    nuisance = tuple(name for name, factor in factors.items() if factor.nuisance)
    return DecodingScores(tuple(features), results, nuisance)


def _gram_matrix(features: Float[Tensor, "n ..."]) -> Float[Tensor, "n n"]:
    """Return inner products between images; there are fewer images than features."""
    flat = features.flatten(1).double().cpu()
    return flat @ flat.T


def _test_score(gram: Float[Tensor, "n n"], values: Tensor, split: _Split) -> float:
    targets = values.double() if values.ndim > 1 else functional.one_hot(values.long()).double()

    def score(train: Tensor, test: Tensor, strength: float) -> float:
        predicted = regression.dual_ridge_predictions(gram, targets, train, test, strength)
        return _score(predicted, values[train], values[test])

    scores = [score(split.train, split.validation, strength) for strength in RIDGE_STRENGTHS]
    best = RIDGE_STRENGTHS[scores.index(max(scores))]
    return score(torch.cat([split.train, split.validation]), split.test, best)


def _score(predicted: Float[Tensor, "b k"], train: Tensor, test: Tensor) -> float:
    """Return R^2 of a quantity, or the accuracy above chance of a category."""
    if test.ndim > 1:
        residual = (predicted - test).square().sum(0)
        total = (test - train.double().mean(0)).square().sum(0).clamp(min=1e-12)
        return float((1 - residual / total).mean())
    accuracy = float((predicted.argmax(1) == test).double().mean())
    chance = float((test == train.mode().values).double().mean())
    return (accuracy - chance) / max(1 - chance, 1e-12)


def score_scenes(
    model: Model, layers: Sequence[str], count: int, seed: int = 0
) -> DecodingScores | None:
    """Return `decoding_scores` of synthetic scenes; None for a network that does not know them.

    Args:
        model: the network.
        layers: dotted names or aliases.
        count: number of scenes.
        seed: see `decoding_scores`.
    """
    if not knows_scenes(model):
        return None
    planted = planted_scenes(count, model.card.input_size)
    codes = features.extract(model, planted.images, layers)
    return decoding_scores(codes, planted.factors, seed=seed)
