"""Train the shipped networks, and decoders and generators for any network."""

from . import classifier, decoder, generator, own, own_classifier
from .run import order, recipe_names, rounds, train

__all__ = [
    "classifier", "decoder", "generator", "order", "own", "own_classifier", "recipe_names",
    "rounds", "train",
]  # fmt: skip
