"""Train the shipped networks: classifiers, generators and decoders."""

from . import classifier, decoder, generator
from .run import order, train

__all__ = ["classifier", "decoder", "generator", "order", "train"]
