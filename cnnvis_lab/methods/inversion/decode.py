"""Inversion by up-convolution (Dosovitskiy and Brox 2016): shipped decoders, and autoencoders."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from ...core import Images
from ...models import Model, decoders
from ...models.decoders import Autoencoder
from ...models.generators import Generator


def decoders_by_layer(model: Model, layers: Sequence[str]) -> dict[str, Generator]:
    """Return layer -> shipped decoder of its codes, for those layers that have one.

    Args:
        model: the network.
        layers: the layers, after their ReLU where that is a layer of its own.
    """
    known = {decoder.spec.layer: decoder for decoder in decoders.decoders_for(model).values()}
    return {layer: known[layer] for layer in layers if layer in known}


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
