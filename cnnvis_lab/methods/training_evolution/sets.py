"""What a network is trained on, and the images on which it is observed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ... import models
from ...core import InputError, choose, copies
from ...data import (
    ClassFolders,
    ImageSet,
    LabelledSet,
    has_labels,
    open_class_folders,
    open_labelled,
    scenes,
)
from ...models import Model
from ...models.training import classifier, own_classifier
from .record import PAPER_EPOCHS, Observations, record, schedule, train
from .runs import measure_accuracy
from .store import HEADER, Evolution, load

HELD_OUT = 5  # one in so many images of class folders is held out


@dataclass(frozen=True)
class TrainingSets:
    """The images of a recorded training.

    Attributes:
        training: images to train on; None if the training was recorded elsewhere.
        held_out: other images with classes, for the accuracy; None likewise.
        images: images among which top-activating ones are found.
        labelled: images with label maps, for detectors; None if there are none.
        start: the network before the first step.
    """

    training: scenes.SceneSet | ClassFolders | None
    held_out: scenes.SceneSet | ClassFolders | None
    images: ImageSet
    labelled: LabelledSet | None
    start: Model

    @property
    def count(self) -> int:
        """Number of images to train on."""
        return len(self.training) if self.training is not None else 0

    def first(self, count: int) -> scenes.SceneSet | ClassFolders | None:
        """Return the first images to train on.

        Args:
            count: their number.
        """
        if isinstance(self.training, ClassFolders):
            return self.training.take(range(min(count, self.count)))
        return self.training and scenes.SceneSet(scenes.TRAIN_SEED, count)

    def record(
        self,
        recipe: classifier.ClassifierRecipe,
        folder: str | Path,
        what: Observations,
        *,
        epochs: Sequence[float] = (0, *PAPER_EPOCHS),
    ) -> Evolution:
        """Train the network from its start and record it; resume if it was interrupted.

        Args:
            recipe: how it is trained.
            folder: folder of the recording; a checkpoint of the training is saved next to it.
            what: what to record in addition to the accuracy.
            epochs: when to record, see `schedule`; 0 is the network before training.

        Raises:
            InputError: the training was recorded elsewhere.
            FileError: the folder holds the recording of another training.
        """
        held_out = self.held_out
        if self.training is None or held_out is None:
            raise InputError("a training that was recorded elsewhere is loaded, not recorded again")
        if isinstance(self.training, ClassFolders):
            trainer = own_classifier.OwnClassifierTrainer(recipe, self.training, self.start)
            view, folded = copies.copy_network(self.start), None
        else:
            trainer = classifier.ClassifierTrainer(recipe, self.training)
            view, folded = models.load(recipe.family, weights="random"), trainer.snapshot
        accuracy = {"accuracy": lambda model: measure_accuracy(model, held_out)}
        what = replace(what, metrics={**what.metrics, **accuracy})
        at = schedule(recipe.epochs * recipe.steps_per_epoch, epochs)
        with record(trainer.net, folder, what, at=at, view=view, folded=folded) as recorder:
            train(trainer, recorder, f"{folder}.checkpoint.pt")
        return load(folder)


def open_sets(
    view: Model,
    classes: str | Path,
    source: str | Path,
    training: int,
    observed: int,
    *,
    recorded: bool = False,
) -> TrainingSets:
    """Open the images of a training that is to be recorded.

    Args:
        view: a network of the architecture that is trained; determines the size of the images.
        classes: folder with a folder of images for each class; empty for the synthetic scenes.
        source: folder of images on which the training is observed; empty for the held-out ones.
        training: maximum number of images to train on.
        observed: maximum number of images to observe.
        recorded: the training was recorded elsewhere; only images to observe are opened.

    Raises:
        FileError: there is no such folder, or an image in it is damaged.
        InputError: there are too few classes or images.
    """
    size, start = view.card.input_size, copies.copy_network(view)
    images: ImageSet
    if recorded:
        labelled = open_labelled(source, size, observed) if source and has_labels(source) else None
        images = models.open_images(view, source or classes, observed)
        return TrainingSets(None, None, images, labelled, start)
    if classes:
        everything = open_class_folders(classes, size, training * HELD_OUT // (HELD_OUT - 1))
        held = [*range(0, len(everything), HELD_OUT)]
        rest = [index for index in range(len(everything)) if index % HELD_OUT]
        train_set, held_out, labelled = everything.take(rest), everything.take(held), None
        images = held_out.take(range(min(observed, len(held_out))))
    else:
        train_set = scenes.SceneSet(scenes.TRAIN_SEED, training)
        train_set.draw_all()
        held_out = labelled = images = scenes.SceneSet(
            scenes.HELD_OUT_SEED, observed, labelled=True
        )
        held_out.draw_all()
    if source:
        images = models.open_images(view, source, observed)
        labelled = open_labelled(source, size, observed) if has_labels(source) else None
    return TrainingSets(train_set, held_out, images, labelled, start)


def recipe_for(name: str, *, own: bool) -> classifier.ClassifierRecipe:
    """Return the recipe of a recorded training: that of `alexnet_mini` without its later additions.

    Args:
        name: the network.
        own: it is trained on class folders, or was trained elsewhere; any network then has the
            same plain recipe.

    Raises:
        InputError: no such recipe.
    """
    if own:
        return classifier.ClassifierRecipe(name, weight_decay=1e-2)
    try:
        choose("recipe", name, classifier.RECIPES)
    except LookupError as error:
        raise InputError(
            f"{error}; to train another network, give TRAIN_DATA, a folder with a folder of images "
            "for each class"
        ) from None
    return replace(classifier.RECIPES["alexnet_mini"], family=name, cutout=0.0, place=0.0)


def is_recording(folder: str | Path) -> bool:
    """Return whether a folder itself holds a recording, such as one made in a loop of your own."""
    return bool(folder) and (Path(folder).expanduser() / HEADER).is_file()
