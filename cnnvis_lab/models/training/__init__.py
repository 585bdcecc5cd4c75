"""Train the shipped networks: classifiers, generators and decoders."""

from . import classifier, decoder, generator
from .run import train

__all__ = ["classifier", "decoder", "generator", "train"]
