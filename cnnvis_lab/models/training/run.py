"""Train any shipped network by its name."""

from pathlib import Path

from ...core import files, not_found
from . import classifier, decoder, generator
from .trainer import Progress

Trainer = classifier.ClassifierTrainer | generator.GeneratorTrainer | decoder.DecoderTrainer


def train(name: str, folder: str | Path, on_progress: Progress = print) -> Trainer:
    """Train a shipped network by its recipe, resuming from the last checkpoint in `folder`.

    Args:
        name: a key of `RECIPES` of `classifier`, `generator` or `decoder`.
        folder: folder of the checkpoint `NAME.checkpoint.pt`.
        on_progress: called with one line of text after each epoch, and while images are drawn.

    Returns:
        The finished training run; `snapshot` gives its network, `export` writes it.

    Raises:
        NameNotFound: no such recipe.
        FileError: `folder` cannot be written to.
    """
    trainer = _trainer(name)
    files.check_writable(folder)
    trainer.run(name, folder, on_progress)
    return trainer


def _trainer(name: str) -> Trainer:
    if name in classifier.RECIPES:
        return classifier.ClassifierTrainer(classifier.RECIPES[name])
    if name in generator.RECIPES:
        return generator.GeneratorTrainer(generator.RECIPES[name])
    if name in decoder.RECIPES:
        return decoder.DecoderTrainer(decoder.RECIPES[name])
    raise not_found("recipe", name, [*classifier.RECIPES, *generator.RECIPES, *decoder.RECIPES])
