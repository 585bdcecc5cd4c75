"""Evaluation by an independent classifier: predicted classes and the distance to real images.

An independent classifier is a network that was not used to generate the images it evaluates.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, choose, features, hooks
from ...data.images import height_and_width
from ...models import Model, load, shipped


def has_classes(classifier: Model, classes: Sequence[str]) -> bool:
    """Return whether a network has classes of these names."""
    return set(classes) <= set(classifier.card.classes)


def independent_classifier(model: Model, name: str = "judge_mini") -> Model | None:
    """Return a shipped network that has all classes of a network, and is another one; None if not.

    Args:
        model: the network.
        name: the shipped network.

    Raises:
        NameNotFound: no shipped network of that name.
    """
    classes = choose("shipped network", name, shipped())["classes"]
    if name == model.card.name or not {*model.card.classes} <= {*classes}:
        return None
    return load(name, device=str(model.device))


def predict_names(classifier: Model, images: Images, *, batch: int = 64) -> list[str]:
    """Return the name of the class that an independent classifier predicts for each image.

    Args:
        classifier: the network that predicts.
        images: in [0, 1]; resized to the classifier's input.
        batch: images per forward pass.
    """
    scores = features.predict(classifier, _resize_to_input(classifier, images), batch=batch)
    return [classifier.card.classes[index] for index in scores.argmax(1).tolist()]


def fraction_recognized(classifier: Model, images: Images, classes: Sequence[str]) -> float:
    """Return the fraction of images that an independent classifier assigns to their class.

    Args:
        classifier: the network that predicts; it must have classes of these names.
        images: in [0, 1]; resized to the classifier's input.
        classes: the intended class of each image.

    Raises:
        InputError: a class that the classifier does not have.
    """
    if not has_classes(classifier, classes):
        unknown = min(set(classes) - set(classifier.card.classes))
        raise InputError(
            f"{classifier.card.name} has no class {unknown!r}; choose another classifier"
        )
    pairs = zip(predict_names(classifier, images), classes, strict=True)
    return float(torch.tensor([float(predicted == name) for predicted, name in pairs]).mean())


@torch.no_grad()
def pooled_features(
    classifier: Model, images: Images, *, layers: Sequence[str] = (), batch: int = 64
) -> Float[Tensor, "n features"]:
    """Return the mean and the maximum of every feature map of some layers.

    Args:
        classifier: the network whose features are pooled.
        images: in [0, 1]; resized to the classifier's input.
        layers: convolutional or fully connected layers; by default the last one before the classes.
        batch: images per forward pass.
    """
    layers = list(layers) or [*classifier.default_layers().values()][-2:-1]
    pooled = []
    for part in images.split(batch):
        outputs = hooks.activations(classifier, _resize_to_input(classifier, part), layers)
        maps = [outputs[layer].cpu().reshape(*outputs[layer].shape[:2], -1) for layer in layers]
        pooled.append(torch.cat([pool for m in maps for pool in (m.mean(2), m.amax(2))], 1))
    return torch.cat(pooled)


def distance_to_real(
    classifier: Model, images: Images, real: Float[Tensor, "m c rows columns"]
) -> Float[Tensor, " n"]:
    """Return the distance of each image to its nearest real image in feature space.

    Pooled features of layers at all depths are used, divided by their standard deviation over the
    real images. With deep features alone, which hardly respond to noise, noise would seem close to
    real images.

    Args:
        classifier: an independent classifier.
        images: the images to evaluate, in [0, 1].
        real: at least two images of a dataset.

    Returns:
        Distances relative to the mean nearest-neighbor distance among real images: at 1, an image
        is as close to real images as these are to each other.
    """
    layers = [*classifier.default_layers().values()][:-1]
    references = pooled_features(classifier, real, layers=layers)
    std = references.std(0).clamp(min=1e-6)
    pooled = pooled_features(classifier, images, layers=layers) / std
    references = references / std
    between_real = torch.cdist(references, references).fill_diagonal_(torch.inf).amin(1).mean()
    return torch.cdist(pooled, references).amin(1) / between_real


def _resize_to_input(classifier: Model, images: Images) -> Float[Tensor, "n c rows columns"]:
    size = height_and_width(classifier.card.input_size)
    resized = functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    return resized.to(classifier.device)
