"""Train any classifier on images with a folder for each class."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Images, InputError, copies, features
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
        recipe, first = self.recipe, self._first_step()
        order = torch.randperm(len(self.images), generator=generator)[: recipe.images]
        dropout_seed = int(torch.randint(2**31, (1,), generator=generator))
        with torch.random.fork_rng():  # dropout uses the global random generator
            torch.manual_seed(dropout_seed)
            self.net.train()
            for step in range(recipe.steps_per_epoch):
                indices = order[step * recipe.batch : (step + 1) * recipe.batch].tolist()
                images = augment(self.images.batch(indices), generator).clamp(0, 1)
                yield self._step(images, self.images.classes(indices), recipe.lr_at(first + step))

    def _step(self, images: Images, classes: Tensor, rate: float) -> float:
        inputs = self.start.normalize(images.to(self.device))
        with self._autocast():
            loss = functional.cross_entropy(self.net(inputs), classes.to(self.device))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


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
