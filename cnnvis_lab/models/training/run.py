"""Train any shipped network by its name."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

import torch

from ...core import files, not_found
from ...data.scenes import TRAIN_SEED, SceneSet
from .. import decoders, generators, registry
from . import classifier, decoder, generator
from .trainer import Progress, read_checkpoint

Trainer = classifier.ClassifierTrainer | generator.GeneratorTrainer | decoder.DecoderTrainer


def order() -> list[str]:
    """Return the names of all shipped networks, each after those that its training reads."""
    shipped = {*registry.shipped(), *generators.shipped(), *decoders.shipped()}
    return [*chain(*rounds([name for name in recipe_names() if name in shipped]))]


def rounds(names: Sequence[str]) -> list[list[str]]:
    """Divide names of networks into rounds: one's trainings read only what earlier ones made."""
    generators_read = [name for name, recipe in generator.RECIPES.items() if recipe.starts_from]
    parts: list[list[str]] = [[], [], []]
    for name in names:
        parts[0 if name in classifier.RECIPES else 1 + (name in generators_read)].append(name)
    return [part for part in parts if part]


def train(
    name: str, folder: str | Path, on_progress: Progress = print, *, device: str = ""
) -> Trainer:
    """Train a shipped network by its recipe, resuming from the last checkpoint in `folder`.

    Args:
        name: a key of `RECIPES` of `classifier`, `generator` or `decoder`.
        folder: folder of the checkpoint `NAME.checkpoint.pt`.
        on_progress: called with one line of text after each epoch, and while images are drawn.
        device: torch device; "" for the GPU, or the CPU where there is none.

    Returns:
        The finished training run; `snapshot` gives its network, `export` writes it.

    Raises:
        NameNotFound: no such recipe.
        InputError: no such device.
        FileError: `folder` cannot be written to, or its checkpoint is of another training.
    """
    checkpoint = Path(folder) / f"{name}.checkpoint.pt"
    recipe = (classifier.RECIPES | generator.RECIPES | decoder.RECIPES).get(name)
    if recipe and checkpoint.is_file():
        read_checkpoint(checkpoint, recipe)
    trainer = _trainer(name, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    files.check_writable(folder)
    trainer.run(name, folder, on_progress)
    return trainer


def _trainer(name: str, device: str) -> Trainer:
    if name in classifier.RECIPES:
        recipe = classifier.RECIPES[name]
        images = _training_images(recipe.images, recipe.place > 0)
        return classifier.ClassifierTrainer(recipe, images, device)
    if name in generator.RECIPES:
        recipe = generator.RECIPES[name]
        return generator.GeneratorTrainer(recipe, _training_images(recipe.images), device)
    if name in decoder.RECIPES:
        recipe = decoder.RECIPES[name]
        return decoder.DecoderTrainer(recipe, _training_images(recipe.images), device)
    raise not_found("recipe", name, recipe_names())


@lru_cache(maxsize=1)
def _training_images(count: int, labelled: bool = False) -> SceneSet:
    """Return the training set, which stays in memory for the next network."""
    return SceneSet(TRAIN_SEED, count, labelled=labelled)


def recipe_names() -> list[str]:
    """Return the names that `train` takes."""
    return [*classifier.RECIPES, *generator.RECIPES, *decoder.RECIPES]
