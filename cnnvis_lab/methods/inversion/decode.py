"""Inversion by up-convolution (Dosovitskiy and Brox 2016): decoders, and shipped autoencoders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ...core import Images, features
from ...models import Model, decoders, generators, trained
from ...models.decoders import Autoencoder
from ...models.generators import Generator
from .analysis import post_relu_layers


def decoders_by_layer(
    model: Model, layers: Sequence[str], source: str | Path = ""
) -> dict[str, Generator]:
    """Return layer -> decoder of its codes, for those layers that have one.

    Args:
        model: the network.
        layers: the layers, after their ReLU where that is a layer of its own.
        source: a decoder's file or a folder of them, see `trained.decoders_of`; empty for the
            shipped decoders.

    Raises:
        FileError: there is no such file or folder, or a file is damaged.
        InputError: none is of this network.
    """
    return trained.by_layer(model, trained.decoders_of(model, source), layers)


def layers_and_decoders(
    model: Model, layers: Sequence[str] = (), source: str | Path = ""
) -> tuple[list[str], dict[str, Generator]]:
    """Return layers to invert, and layer -> decoder for those that have one.

    Args:
        model: the network.
        layers: labels; the network's default layers, and those of the decoders, if empty.
        source: see `decoders_by_layer`.

    Raises:
        NameNotFound: no such layer.
        FileError: there is no such file or folder, or a file is damaged.
        InputError: no decoder in it is of this network.
    """
    found = trained.decoders_of(model, source)
    chosen = post_relu_layers(model, layers)
    names = [*(chosen if layers else trained.add_layers(model, chosen, found)).values()]
    return names, trained.by_layer(model, found, names)


def autoencoders_by_layer(layers: Iterable[str], device: str = "cpu") -> dict[str, Autoencoder]:
    """Return layer -> shipped autoencoder whose code has the layer's shape, where there is one.

    Args:
        layers: layers of `alexnet_mini`, such as the keys of `decoders_by_layer`.
        device: torch device.
    """
    names = {layer: f"autoencoder_{layer.removesuffix('.relu')}" for layer in layers}
    return {
        layer: decoders.load_autoencoder(name, device=device)
        for layer, name in names.items()
        if name in decoders.shipped()
    }


def decode(
    decoders: Mapping[str, Generator | Autoencoder], codes: Mapping[str, Tensor]
) -> dict[str, Images]:
    """Return layer -> images that decoders compute from codes.

    Args:
        decoders: layer -> decoder.
        codes: layer -> (n, ...) codes on the decoder's device; for an autoencoder, images.
    """
    return {layer: decoder.draw(codes[layer]).cpu() for layer, decoder in decoders.items()}


def decode_by_generators(model: Model, images: Images, layers: Iterable[str]) -> dict[str, Images]:
    """Return layer -> images drawn by the shipped generators, for those layers that have one.

    A generator is a decoder that was trained with losses of features and of a discriminator beside
    that of the pixels. The generator of CL5 reads its pooled maps.

    Args:
        model: the network; the result is empty unless it has the shipped weights.
        images: the images that are encoded.
        layers: labels, with ".relu" or without.

    Source: Dosovitskiy and Brox 2016, generating images with perceptual similarity metrics.
    """
    named = {layer: f"generator_{layer.removesuffix('.relu')}" for layer in layers}
    # The accuracy is known for shipped weights only.
    shipped = generators.shipped() if model.card.accuracy is not None else {}
    drawn = {}
    for layer, name in named.items():
        if name in shipped and generators.SPECS[name].encoder == model.card.name:
            generator = generators.load(name, device=str(model.device))
            source = generator.spec.layer
            drawn[layer] = generator.draw(features.extract(model, images, [source])[source]).cpu()
    return drawn
