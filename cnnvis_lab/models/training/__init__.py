"""Train the shipped networks: classifiers, generators and decoders."""

from . import batch_norm, classifier, decoder, discriminator, generator, trainer

__all__ = ["batch_norm", "classifier", "decoder", "discriminator", "generator", "trainer"]
