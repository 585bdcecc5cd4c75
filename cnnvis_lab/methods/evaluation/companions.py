"""Linear probes for companion objects, such as the hand that usually comes with a phone.

Synthetic scenes can be drawn with and without the companion, and otherwise equal. A probe learns to
distinguish the two kinds from the features of an independent classifier, and is then applied to
class images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, Images, not_found, passes_missing, with_gradients
from ...data import images as image_files
from ...data.scenes import CLASS_NAMES, COMPANIONS, draw
from ...models import Model
from .recognition import has_classes, pooled_features

COMPANION_SEED = 3  # scenes that are used neither for training nor for display


@dataclass(frozen=True)
class CompanionProbe:
    """A linear probe that detects a class's companion in images.

    Attributes:
        class_name: the class.
        classifier: the network whose last layer before the classes the probe reads.
        readout: linear layer from pooled features to log odds.
        accuracy: accuracy on held-out images; chance is 0.5.
    """

    class_name: str
    classifier: Model
    readout: nn.Linear
    accuracy: float

    @torch.no_grad()
    def probability(self, images: Images) -> Float[Tensor, " n"]:
        """Return the probability that the companion is present, for each image."""
        return self.readout(pooled_features(self.classifier, images)).squeeze(1).sigmoid()


@with_gradients
def fit_companion_probe(
    classifier: Model, class_name: str, *, image_count: int = 320
) -> CompanionProbe:
    """Fit a probe to newly drawn images, half of them with the companion.

    Args:
        classifier: an independent classifier; the probe reads its features.
        class_name: a class that has a companion.
        image_count: number of images; a quarter is held out to measure the accuracy.

    Raises:
        NameNotFound: the class has no companion.
    """
    if class_name not in COMPANIONS:
        raise not_found("class with a companion", class_name, COMPANIONS)
    present = torch.arange(image_count) % 2 == 0
    first = CLASS_NAMES.index(class_name)
    scenes = [
        draw(COMPANION_SEED, first + len(CLASS_NAMES) * i, with_companion=bool(with_companion))
        for i, with_companion in enumerate(present)
    ]
    images = torch.stack([image_files.from_uint8(scene.image) for scene in scenes])
    features = pooled_features(classifier, images)
    held_out = image_count // 4
    readout = _fit_logistic(features[held_out:], present[held_out:].float())
    correct = (readout(features[:held_out]).squeeze(1) > 0) == present[:held_out]
    accuracy = float(correct.float().mean())
    return CompanionProbe(class_name, classifier, readout, accuracy)


def _fit_logistic(
    features: Float[Tensor, "n d"], truth: Float[Tensor, " n"], decay: float = 1e-2
) -> nn.Linear:
    """Fit a logistic regression to standardized features; return it for the original features."""
    mean, std = features.mean(0), features.std(0) + 1e-6
    standardized, readout = (features - mean) / std, nn.Linear(features.shape[1], 1)
    nn.init.zeros_(readout.weight)
    nn.init.zeros_(readout.bias)
    optimizer = torch.optim.LBFGS(readout.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_odds = readout(standardized).squeeze(1)
        error = functional.binary_cross_entropy_with_logits(log_odds, truth)
        error = error + decay * readout.weight.square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    with torch.no_grad():
        readout.weight.div_(std)
        readout.bias.sub_(readout.weight @ mean)
    return readout.requires_grad_(False)


def fraction_with_companion(
    probe: CompanionProbe, images: Images, classes: Sequence[str]
) -> tuple[float, float]:
    """Return the fraction of images with the companion, for the probe's class and for the others.

    Args:
        probe: a probe from `fit_companion_probe`.
        images: class images, in [0, 1].
        classes: the intended class of each image.
    """
    detected = (probe.probability(images) > 0.5).float()
    of_class = torch.tensor([name == probe.class_name for name in classes])
    return float(detected[of_class].mean()), float(detected[~of_class].mean())


@dataclass(frozen=True)
class CompanionRates:
    """How often class images show the object that usually comes with their class.

    Attributes:
        fractions: class -> fraction of images with its companion, among images of this class and
            among images of the other classes.
        accuracy: class -> accuracy of its probe on held-out images; chance is 0.5.
    """

    fractions: Mapping[str, tuple[float, float]]
    accuracy: Mapping[str, float]

    def mean_difference(self) -> float | None:
        """Return the fraction in the class's images minus that in others, averaged over classes."""
        differences = [own - others for own, others in self.fractions.values()]
        return sum(differences) / len(differences) if differences else None

    def __str__(self) -> str:
        pairs = self.fractions.items()
        return "; ".join(f"{name} {own:.2f}, others {others:.2f}" for name, (own, others) in pairs)


@passes_missing
def companion_rates(
    classifier: Model | None,
    images: Images,
    classes: Sequence[str],
    more: Mapping[str, Float[Tensor, "_ c rows columns"]],
    image_count: int = 160,
) -> CompanionRates:
    """Measure how often class images show the companions of their classes.

    Args:
        classifier: an independent classifier; None to measure nothing.
        images: one image of each class, in [0, 1].
        classes: the class of each image.
        more: class with a companion -> more images of this class.
        image_count: images drawn to fit each probe; 0 to measure nothing.

    Returns:
        The rates of the classes of `more`; none if the classifier does not have the classes.
    """
    fractions, accuracy = {}, {}
    if image_count and classifier and has_classes(classifier, classes):
        for name, own in more.items():
            probe = fit_companion_probe(classifier, name, image_count=image_count)
            every, names = torch.cat([own, images]), [name] * len(own) + list(classes)
            fractions[name] = fraction_with_companion(probe, every, names)
            accuracy[name] = probe.accuracy
    return CompanionRates(fractions, accuracy)


def with_companions(classes: Sequence[str]) -> list[str]:
    """Return those of some classes that have a companion."""
    return [name for name in COMPANIONS if name in classes]
