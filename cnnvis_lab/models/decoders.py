"""Up-convolutional decoders: from a layer's code of a picture to the mean of all such pictures.

Dosovitskiy and Brox (2016, inverting visual representations) have two layouts: three 3x3
convolutions before the up-convolutions where the code is a map, three full layers where it is not;
leaky ReLUs of slope 0.2, and up-convolutions of 5x5 that double the picture. Beside the full size
stand minis of the same plan for the layers of `alexnet_mini`, and autoencoders whose encoder has
that network's layout but was trained for nothing except to be decoded.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core import Images, InputError, files, not_found
from ..data import images
from . import architectures, generators, model, registry
from .generators import Generator, GeneratorSpec
from .registry import MINI_NORMALIZATION, WEIGHTS

TABLE = WEIGHTS / "decoders.json"
LAYERS = ("CL1", "CL2", "CL3", "CL4", "CL5", "FL1", "FL2", "FL3")
_DECODER_OPTIONS = {"up_kernel": 5, "slope": 0.2}


def _ups(*channels: int) -> tuple[tuple[int, int], ...]:
    return tuple((many, 0) for many in (*channels, 3))


def _conv_spec(layer: str, code: tuple[int, int, int], width: int, *ups: int) -> GeneratorSpec:
    """A decoder of CaffeNet's maps."""
    convs = ((width, 3, 1),) * 3
    return GeneratorSpec(
        "caffenet", layer, code, (), convs, _ups(*ups), images.CAFFENET_BGR, **_DECODER_OPTIONS
    )


def _fully_connected_spec(layer: str, units: int) -> GeneratorSpec:
    """A decoder of CaffeNet's vectors: the last full layer is 256 maps of 4x4."""
    ups = _ups(256, 128, 64, 32)
    return GeneratorSpec(
        "caffenet", layer, (units,), (4096,) * 3, (), ups, images.CAFFENET_BGR, **_DECODER_OPTIONS
    )


def _mini_conv_spec(
    layer: str, code: tuple[int, int, int], widths: tuple[int, int, int], *ups: int
) -> GeneratorSpec:
    """The last convolution, 2x2 and padded, adds the row and column that doubling asks for."""
    first, second, third = widths
    convs = ((first, 3, 1), (second, 3, 1), (third, 2, 1))
    return GeneratorSpec("alexnet_mini", layer, code, (), convs, _ups(*ups), **_DECODER_OPTIONS)


def _mini_fully_connected_spec(layer: str, units: int) -> GeneratorSpec:
    ups = _ups(32, 28, 24, 16)
    return GeneratorSpec(
        "alexnet_mini", layer, (units,), (160, 160, 640), (), ups, **_DECODER_OPTIONS
    )


_MINI_SPECS = {
    "CL1": _mini_conv_spec("CL1.relu", (48, 31, 31), (64, 64, 64), 48),
    "CL2": _mini_conv_spec("CL2.relu", (80, 15, 15), (128, 128, 128), 64, 32),
    "CL3": _mini_conv_spec("CL3.relu", (112, 7, 7), (80, 72, 64), 40, 32, 24),
    "CL4": _mini_conv_spec("CL4.relu", (112, 7, 7), (80, 72, 64), 40, 32, 24),
    "CL5": _mini_conv_spec("CL5.relu", (80, 7, 7), (80, 72, 64), 40, 32, 24),
    "FL1": _mini_fully_connected_spec("FL1.relu", 384),
    "FL2": _mini_fully_connected_spec("FL2.relu", 384),
    "FL3": _mini_fully_connected_spec("FL3", 16),
}
# Codes are those of the authors' release: behind ReLU, pooling and normalisation. How many maps
# the convolutions and the first up-convolutions have is not at hand for all layers; these follow
# the plan of the full layers, whose numbers are.
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


def spec_of(name: str) -> GeneratorSpec:
    """Return a decoder's plan.

    Raises:
        NameNotFound: no such decoder.
    """
    if name not in SPECS:
        raise not_found("decoder", name, SPECS)
    return SPECS[name]


def build(name: str) -> nn.Sequential:
    """Build a decoder's layers with fresh random weights.

    Raises:
        NameNotFound: no such decoder.
    """
    return generators.assemble(spec_of(name))


def build_encoder(name: str) -> nn.Sequential:
    """Build the encoder of an autoencoder, fresh: the network's layout as far as the layer."""
    spec = spec_of(name)
    net = architectures.build(spec.encoder, 16, dropout=0)
    last = registry.survey_layers(spec.encoder)[spec.layer]
    names = [layer for layer, _ in net.named_children()]
    return net[: names.index(last) + 1]


class Autoencoder(nn.Module):
    """A frozen encoder and decoder that were trained together.

    Attributes:
        name: the name it was loaded by.
        encoder: normalised pictures to codes.
        decoder: codes to pictures.
        origin: where the weights come from.
    """

    def __init__(self, name: str, encoder: nn.Module, decoder: Generator) -> None:
        super().__init__()
        self.name, self.origin = name, decoder.origin
        self.encoder, self.decoder = encoder.eval().requires_grad_(False), decoder

    def codes(self, images: Images) -> Tensor:
        """Encode pictures in [0, 1]."""
        mean, std = (torch.tensor(v).view(3, 1, 1).to(images) for v in MINI_NORMALIZATION)
        return self.encoder((images - mean) / std)

    def draw(self, images: Images) -> Images:
        """Encode and decode pictures in [0, 1]."""
        return self.decoder.draw(self.codes(images))


def shipped() -> dict[str, dict]:
    """Return the table of shipped decoders: name -> recipe, errors on held-out pictures, hash."""
    return json.loads(TABLE.read_text()) if TABLE.is_file() else {}


def load(name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0) -> Generator:
    """Load a decoder, frozen.

    Args:
        name: one of `SPECS` that is no autoencoder, such as "decoder_FL1".
        weights: a weights file, "random" for a fresh one; empty for shipped ones.
        device: torch device.
        seed: seeds "random" weights.

    Raises:
        NameNotFound: no decoder of that name.
        InputError: weights that do not fit, or needed and not given.
        FileProblem: a weights file that is missing, damaged or holds code.

    Source: Dosovitskiy and Brox 2016.
    """
    spec = spec_of(name)
    if name.startswith("autoencoder"):
        raise InputError(f"{name} has an encoder of its own; use decoders.load_autoencoder")
    net = _build_seeded(lambda: generators.assemble(spec), seed)
    return Generator(name, net, generators.load_weights(net, name, weights, shipped()), spec).to(
        device
    )


def load_autoencoder(
    name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0
) -> Autoencoder:
    """Load an autoencoder, frozen; see `load`."""
    if not name.startswith("autoencoder"):
        raise not_found("autoencoder", name, [n for n in SPECS if n.startswith("autoencoder")])
    net = _build_seeded(lambda: join_autoencoder(build_encoder(name), build(name)), seed)
    origin = generators.load_weights(net, name, weights, shipped())
    decoder = Generator(name, net.decoder, origin, spec_of(name))
    return Autoencoder(name, net.encoder, decoder).to(device)


def decoders_for(model: model.Model, ending: str = "") -> dict[str, Generator]:
    """Return the shipped decoders of a network's layers, by the layers' survey names.

    Args:
        model: the network; decoders read the codes of the shipped weights only.
        ending: "" for those trained on clean codes, "_perturbed" for the others.
    """
    known, found = shipped(), {}
    if known:
        files.record_input(TABLE)  # a run must be drawn anew once there are more
    for word in model.default_layers():
        name = f"decoder_{word}{ending}"
        own = name in known and spec_of(name).encoder == model.card.name
        if own and model.card.accuracy is not None:  # which is known of shipped weights only
            found[word] = load(name, device=str(model.device))
    return found


def join_autoencoder(encoder: nn.Module, decoder: nn.Module) -> nn.Sequential:
    """An autoencoder's two halves as one module, as its weights file names them."""
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


def _build_seeded(make: object, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()
