"""Train any classifier on images with a folder for each class."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from ...core import InputError, copies, features
from ...data import ClassFolders
from ..model import Model
from .augmentation import augment
from .classifier import ClassifierRecipe
from .trainer import ResumableTrainer


class OwnClassifierTrainer(ResumableTrainer[ClassifierRecipe]):
    """Training run of a classifier of any architecture.

    Of the recipe, the number of images, epochs and images of a step, the rate, the decay of weights
    and the seed apply; a dropout of 0 switches dropout off.

    Args:
        recipe: how it is trained.
        images: the training set.
        start: the network as it is before the first step; it stays as it is.

    Raises:
        InputError: the network has fewer outputs than there are classes.
    """

    def __init__(self, recipe: ClassifierRecipe, images: ClassFolders, start: Model) -> None:
        if len(start.card.classes) < len(images.names):
            raise InputError(
                f"{start.card.name} has {len(start.card.classes)} outputs; expected at least one "
                f"for each of the {len(images.names)} classes"
            )
        self.start = start
        self.net: nn.Module = copies.copy_network(start.net).requires_grad_(True)
        for module in self.net.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd) and not recipe.dropout:
                module.p = 0.0
        self.optimizer = torch.optim.AdamW(self.net.parameters(), weight_decay=recipe.weight_decay)
        parts = {"net": self.net, "optimizer": self.optimizer}
        super().__init__(recipe, images, parts, str(start.device))

    def _epoch(self, generator: torch.Generator) -> Iterator[float]:
        self.net.train()
        steps = enumerate(self._shuffled(len(self.images), generator), self._first_step())
        for step, indices in steps:
            images = augment(self.images.batch(indices), generator).clamp(0, 1)
            inputs = self.start.normalize(images.to(self.device))
            classes = self.images.classes(indices).to(self.device)
            with self._autocast():
                loss = functional.cross_entropy(self.net(inputs), classes)
            yield self._update(self.optimizer, loss, self.rate_at(step))


def accuracy(model: Model, images: ClassFolders) -> float:
    """Return the fraction of images that a network classifies correctly.

    Args:
        model: the network, with an output for each of the classes.
        images: the images, with their classes.
    """
    correct = 0
    for indices, batch in images.batches(100):
        predicted = features.predict(model, batch).argmax(1)
        correct += int((predicted == images.classes(indices.tolist())).sum())
    return correct / len(images)
