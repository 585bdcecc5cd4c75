"""Whether a class picture shows what mostly came with the class: a phone's hand, a bird's perch.

The embedded world plants companions, so pictures that differ in nothing but the companion can be
drawn. A probe that tells the two kinds apart, on the features of a network that took no part, then
looks at class pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, Images, not_found
from ...data import images
from ...data.scenes import CLASS_NAMES, COMPANIONS, draw
from ...models import Model
from .recognition import pooled_features

COMPANION_SEED = 3  # a world of its own: neither trained on nor shown


@dataclass(frozen=True)
class CompanionProbe:
    """Tells pictures of a class with its companion from those without.

    Attributes:
        owner: the class.
        companion: what comes with it.
        judge: the network whose features it reads.
        layers: theirs; the last before the classes if empty.
        read: a full layer from pooled features to a log odds.
        accuracy: on pictures it was not fitted on; chance is 0.5.
    """

    owner: str
    companion: str
    judge: Model
    layers: tuple[str, ...]
    read: nn.Linear
    accuracy: float

    @torch.no_grad()
    def sees(self, images: Images) -> Float[Tensor, " n"]:
        """Return for each picture the probability that the companion is in it."""
        return (
            self.read(pooled_features(self.judge, images, layers=self.layers)).squeeze(1).sigmoid()
        )


def fit_companion_probe(
    judge: Model, owner: str, *, layers: Sequence[str] = (), pictures: int = 320
) -> CompanionProbe:
    """Fit a probe on freshly drawn pictures, half of them with the companion.

    Args:
        judge: a network that took no part in making the pictures to be looked at.
        owner: a class with a companion.
        layers: whose features are read; the last before the classes by default.
        pictures: how many are drawn; a quarter is kept for the accuracy.

    Raises:
        NameNotFound: a class without a companion.
    """
    if owner not in COMPANIONS:
        raise not_found("class with a companion", owner, COMPANIONS)
    with_it = torch.arange(pictures) % 2 == 0
    first = CLASS_NAMES.index(owner)
    drawn = torch.stack(
        [
            images.from_uint8(
                draw(COMPANION_SEED, first + len(CLASS_NAMES) * i, with_companion=bool(w)).image
            )
            for i, w in enumerate(with_it)
        ]
    )
    features = pooled_features(judge, drawn, layers=layers)
    kept = pictures // 4
    read = _fit_logistic(features[kept:], with_it[kept:].float())
    right = (read(features[:kept]).squeeze(1) > 0) == with_it[:kept]
    companion = COMPANIONS[owner].name
    return CompanionProbe(owner, companion, judge, tuple(layers), read, float(right.float().mean()))


def _fit_logistic(
    features: Float[Tensor, "n d"], truth: Float[Tensor, " n"], decay: float = 1e-2
) -> nn.Linear:
    """Logistic regression on standardised features, which its weights take in again."""
    mean, spread = features.mean(0), features.std(0) + 1e-6
    plain, read = (features - mean) / spread, nn.Linear(features.shape[1], 1)
    nn.init.zeros_(read.weight)
    nn.init.zeros_(read.bias)
    optimizer = torch.optim.LBFGS(read.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = functional.binary_cross_entropy_with_logits(read(plain).squeeze(1), truth)
        error = error + decay * read.weight.square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    with torch.no_grad():
        read.weight /= spread
        read.bias -= read.weight @ mean
    return read.requires_grad_(False)


def fraction_with_companion(
    probe: CompanionProbe, images: Images, classes: Sequence[str]
) -> tuple[float, float]:
    """Return the share of the owner's pictures, and of the others', that show the companion.

    Args:
        probe: from `fit_probe`.
        images: class pictures.
        classes: the class each was made for.
    """
    seen = (probe.sees(images) > 0.5).float()
    own = torch.tensor([name == probe.owner for name in classes])
    return float(seen[own].mean()), float(seen[~own].mean())
