"""Up-convolutional decoders: from a layer's code to the mean of all images with that code.

Dosovitskiy and Brox (2016, inverting visual representations) use two architectures. Before the 5x5
up-convolutions, which double the size, there are three 3x3 convolutions for codes that are maps,
and three fully connected layers for other codes; the leaky ReLUs have slope 0.2. Besides the full
size there are mini versions for the layers of `alexnet_mini`, and autoencoders: their encoder has
that network's architecture, but was trained only together with the decoder.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core import Images, InputError, choose
from ..data.images import CAFFENET_BGR
from . import architectures, generators
from .generators import Generator, GeneratorSpec
from .model import Model
from .registry import MINI_NORMALIZATION, WEIGHTS, survey_layers
from .weights import read_table

TABLE = WEIGHTS / "decoders.json"
_DECODER_OPTIONS = {"up_kernel": 5, "slope": 0.2}
_MINI_OPTIONS = {"interpolated": True, "slope": 0.2}


def _ups(*channels: int) -> tuple[tuple[int, int], ...]:
    return tuple((many, 0) for many in (*channels, 3))


def _conv_spec(layer: str, code: tuple[int, int, int], width: int, *ups: int) -> GeneratorSpec:
    """Return the architecture of a decoder for maps of CaffeNet."""
    convs = ((width, 3, 1),) * 3
    return GeneratorSpec(
        "caffenet", layer, code, (), convs, _ups(*ups), CAFFENET_BGR, **_DECODER_OPTIONS
    )


def _fully_connected_spec(layer: str, units: int) -> GeneratorSpec:
    """Return the architecture of a decoder for vectors of CaffeNet; its first maps are 256x4x4."""
    ups = _ups(256, 128, 64, 32)
    return GeneratorSpec(
        "caffenet", layer, (units,), (4096,) * 3, (), ups, CAFFENET_BGR, **_DECODER_OPTIONS
    )


def _mini_conv_spec(
    layer: str, code: tuple[int, int, int], widths: tuple[int, int, int], *ups: int
) -> GeneratorSpec:
    """Return a decoder for maps; its last convolution, 2x2 and padded, adds a row and a column."""
    first, second, third = widths
    convs = ((first, 3, 1), (second, 3, 1), (third, 2, 1))
    return GeneratorSpec("alexnet_mini", layer, code, (), convs, _ups(*ups), **_MINI_OPTIONS)


def _mini_fully_connected_spec(layer: str, units: int) -> GeneratorSpec:
    ups = _ups(112, 80, 48, 24)
    return GeneratorSpec(
        "alexnet_mini", layer, (units,), (256, 256, 1536), (), ups, **_MINI_OPTIONS
    )


_MINI_SPECS = {
    "CL1": _mini_conv_spec("CL1.relu", (48, 31, 31), (64, 64, 64), 48),
    "CL2": _mini_conv_spec("CL2.relu", (80, 15, 15), (128, 128, 128), 64, 32),
    "CL3": _mini_conv_spec("CL3.relu", (112, 7, 7), (192, 192, 160), 96, 48, 24),
    "CL4": _mini_conv_spec("CL4.relu", (112, 7, 7), (192, 192, 160), 96, 48, 24),
    "CL5": _mini_conv_spec("CL5.relu", (80, 7, 7), (192, 192, 160), 96, 48, 24),
    "FL1": _mini_fully_connected_spec("FL1.relu", 384),
    "FL2": _mini_fully_connected_spec("FL2.relu", 384),
    "FL3": _mini_fully_connected_spec("FL3", 16),
}
# Codes are those of the authors' release: after ReLU, pooling and normalization. The numbers of
# maps in the convolutions and first up-convolutions are not published for all layers; those used
# here follow the published numbers for fully connected layers.
SPECS: dict[str, GeneratorSpec] = {
    "upconv_CL1": _conv_spec("norm1", (96, 27, 27), 64, 64, 32),
    "upconv_CL2": _conv_spec("norm2", (256, 13, 13), 128, 128, 64, 32),
    "upconv_CL3": _conv_spec("CL3.relu", (384, 13, 13), 128, 128, 64, 32),
    "upconv_CL4": _conv_spec("CL4.relu", (384, 13, 13), 128, 128, 64, 32),
    "upconv_CL5": _conv_spec("pool5", (256, 6, 6), 256, 256, 128, 64, 32),
    "upconv_FL1": _fully_connected_spec("FL1.relu", 4096),
    "upconv_FL2": _fully_connected_spec("FL2.relu", 4096),
    "upconv_FL3": _fully_connected_spec("FL3", 1000),
    **{f"decoder_{layer}": spec for layer, spec in _MINI_SPECS.items()},
    **{f"decoder_{layer}_perturbed": spec for layer, spec in _MINI_SPECS.items()},
    **{f"autoencoder_{layer}": spec for layer, spec in _MINI_SPECS.items()},
}


def build_encoder(name: str) -> nn.Sequential:
    """Build the encoder of an autoencoder, the network up to its layer, with random weights.

    Raises:
        NameNotFound: no such decoder.
    """
    spec = choose("decoder", name, SPECS)
    net = architectures.build(spec.encoder, 16, dropout=0)
    last = (survey_layers(spec.encoder) or {})[spec.layer]
    names = [layer for layer, _ in net.named_children()]
    return net[: names.index(last) + 1]


class Autoencoder(nn.Module):
    """A frozen encoder and decoder that were trained together.

    Attributes:
        name: the name under which it was loaded.
        encoder: network from normalized images to codes.
        decoder: generator from codes to images.
        origin: source of the weights.
    """

    def __init__(self, name: str, encoder: nn.Module, decoder: Generator) -> None:
        super().__init__()
        self.name, self.origin = name, decoder.origin
        self.encoder, self.decoder = encoder.eval().requires_grad_(False), decoder

    def encode(self, images: Images) -> Tensor:
        """Encode images in [0, 1]."""
        mean, std = (torch.tensor(v).view(3, 1, 1).to(images) for v in MINI_NORMALIZATION)
        return self.encoder((images - mean) / std)

    def draw(self, images: Images) -> Images:
        """Encode and decode images in [0, 1]."""
        return self.decoder.draw(self.encode(images))


def shipped() -> dict[str, dict]:
    """Return the table of shipped decoders: name -> recipe, errors on held-out images, hash."""
    return read_table(TABLE)


def load(name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0) -> Generator:
    """Load a decoder, frozen.

    Args:
        name: a key of `SPECS` other than an autoencoder, such as "decoder_FL1".
        weights: a weights file, "random" for random weights; empty for shipped decoders.
        device: torch device.
        seed: seed of "random" weights.

    Raises:
        NameNotFound: no decoder has that name.
        InputError: the weights do not fit, or are required and not given.
        FileError: the weights file is missing, damaged or contains code.

    Source: Dosovitskiy and Brox 2016.
    """
    spec = choose("decoder", name, SPECS)
    if name.startswith("autoencoder"):
        raise InputError(f"{name} is an autoencoder; use decoders.load_autoencoder")
    net, origin = generators.build_loaded(
        lambda: generators.assemble(spec), name, weights, shipped(), seed
    )
    return Generator(name, net, origin, spec).to(device)


def load_autoencoder(
    name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0
) -> Autoencoder:
    """Load an autoencoder, frozen.

    Args:
        name: a key of `SPECS` that begins with "autoencoder".
        weights: a weights file, "random" for random weights; empty for shipped autoencoders.
        device: torch device.
        seed: seed of "random" weights.

    Raises:
        NameNotFound: no autoencoder has that name.
        InputError: the weights do not fit, or are required and not given.
        FileError: the weights file is missing, damaged or contains code.
    """
    spec = choose("autoencoder", name, {n: s for n, s in SPECS.items() if n.startswith("auto")})
    net, origin = generators.build_loaded(
        lambda: join_autoencoder(build_encoder(name), generators.assemble(spec)),
        name,
        weights,
        shipped(),
        seed,
    )
    encoder, decoder = net
    return Autoencoder(name, encoder, Generator(name, decoder, origin, spec)).to(device)


def decoders_for(model: Model, suffix: str = "") -> dict[str, Generator]:
    """Return layer -> shipped decoder of its codes, for those default layers that have one.

    Args:
        model: the network; empty unless it has the shipped weights, whose codes the decoders read.
        suffix: "" for decoders trained on unperturbed codes, "_perturbed" for those trained on
            perturbed codes.
    """
    known = shipped()
    if model.card.accuracy is None:  # the accuracy is known for shipped weights only
        return {}
    names = (f"decoder_{label}{suffix}" for label in model.default_layers())
    return {
        SPECS[name].layer: load(name, device=str(model.device))
        for name in names
        if name in known and SPECS[name].encoder == model.card.name
    }


def join_autoencoder(encoder: nn.Module, decoder: nn.Module) -> nn.Sequential:
    """Join encoder and decoder as one module, with the names of its weights file."""
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))
