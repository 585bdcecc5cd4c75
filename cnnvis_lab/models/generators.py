"""Generators (DeePSiM): from a layer's code of an image back to a natural-looking image.

The family of Dosovitskiy and Brox (2016), at full size (for which weights are published) and in
mini versions for 128x128 images: fully connected layers, or convolutions for codes that are maps,
then up-convolutions that double the size, with leaky ReLUs of slope 0.3 in between. The minis
enlarge maps by interpolation before a convolution instead, which leaves no checkerboard (Odena et
al. 2016).
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core import Float, Images, InputError, choose
from ..data.images import CAFFENET_BGR, Size, height_and_width
from .registry import WEIGHTS
from .weights import load_into, read_state, read_table

SLOPE = 0.3
TABLE = WEIGHTS / "generators.json"


@dataclass(frozen=True)
class GeneratorSpec:
    """Architecture of a generator.

    Attributes:
        encoder: name of the network whose codes it reads.
        layer: layer of that network, after its ReLU if it has one.
        code: shape of one code.
        fully_connected: widths of the fully connected layers defc7, defc6, ...; the last is
            reshaped to 4x4 maps. Empty for codes that are maps.
        convs: (channels, kernel, padding) of Rconv6, Rconv7, ..., for codes that are maps.
        ups: (channels, channels of the following 3x3 layer or 0) of each up-convolution; the last
            gives RGB.
        bgr_mean: the output is blue, green, red in 0..255 minus this mean; None if it is RGB minus
            gray, in units of a quarter of the value range.
        up_kernel: kernel size of the up-convolutions.
        interpolated: instead of an up-convolution, bilinear interpolation and a 3x3 convolution.
        slope: negative slope of the leaky ReLUs.
        grid: rows and columns to which the first maps are resized; None if they stay as they are.
        output: height and width to which images are cropped; None if they stay as they are.
    """

    encoder: str
    layer: str
    code: tuple[int, ...]
    fully_connected: tuple[int, ...]
    convs: tuple[tuple[int, int, int], ...]
    ups: tuple[tuple[int, int], ...]
    bgr_mean: tuple[float, float, float] | None = None
    up_kernel: int = 4
    interpolated: bool = False
    slope: float = SLOPE
    grid: tuple[int, int] | None = None
    output: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Width of the generated images, in pixels; also the height, unless `output` differs."""
        if self.output:
            return self.output[1]
        size = 4 if self.fully_connected else self.code[-1]
        for _, kernel, padding in self.convs:
            size += 2 * padding - kernel + 1
        return size * 2 ** len(self.ups)


# nets/upconv/*/generator.prototxt of the authors' release; layer names are those of its torch
# conversions.
_FULL_UPS = ((256, 512), (256, 256), (128, 128), (64, 0), (32, 0), (3, 0))
_FULL_SIZE = {"ups": _FULL_UPS, "bgr_mean": CAFFENET_BGR}
_MINI_SIZE = {
    "ups": ((128, 128), (96, 96), (64, 64), (32, 32), (32, 3)),
    "interpolated": True,
}
SPECS: dict[str, GeneratorSpec] = {
    "deepsim_fc6": GeneratorSpec("caffenet", "FL1.relu", (4096,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_fc7": GeneratorSpec("caffenet", "FL2.relu", (4096,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_fc8": GeneratorSpec("caffenet", "FL3", (1000,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_pool5": GeneratorSpec(
        "caffenet", "pool5", (256, 6, 6), (), ((512, 3, 1), (512, 3, 1), (512, 3, 0)), **_FULL_SIZE
    ),
    "generator_FL1": GeneratorSpec(
        "alexnet_mini", "FL1.relu", (384,), (384, 1280), (), **_MINI_SIZE
    ),
    "generator_FL2": GeneratorSpec(
        "alexnet_mini", "FL2.relu", (384,), (384, 1280), (), **_MINI_SIZE
    ),
    "generator_FL3": GeneratorSpec("alexnet_mini", "FL3", (16,), (384, 1280), (), **_MINI_SIZE),
    "generator_CL5": GeneratorSpec(
        "alexnet_mini", "pool5", (80, 3, 3), (), ((96, 3, 1), (80, 2, 1)), **_MINI_SIZE
    ),
}
SPECS["generator_FL1_image_loss"] = SPECS["generator_FL1"]


def assemble(spec: GeneratorSpec) -> nn.Sequential:
    """Build the layers of an architecture with random weights."""
    layers: list[tuple[str, nn.Module]] = []
    incoming = math.prod(spec.code) if spec.fully_connected else spec.code[0]
    if spec.fully_connected and len(spec.code) > 1:
        layers.append(("flatten", nn.Flatten()))
    for number, width in zip((7, 6, 5), spec.fully_connected, strict=False):
        layers += _with_leaky_relu(f"defc{number}", nn.Linear(incoming, width))
        incoming = width
    if spec.fully_connected:
        layers.append(("reshape", nn.Unflatten(1, (incoming // 16, 4, 4))))
        incoming //= 16
    if spec.grid:
        layers.append(("resize", nn.Upsample(spec.grid, mode="bilinear")))
    for number, (channels, kernel, padding) in enumerate(spec.convs, 6):
        layers += _with_leaky_relu(
            f"Rconv{number}", nn.Conv2d(incoming, channels, kernel, 1, padding)
        )
        incoming = channels
    for number, (channels, after) in zip(range(len(spec.ups) - 1, -1, -1), spec.ups, strict=True):
        layers += _doubling(number, incoming, channels, spec)
        incoming = channels
        if after:
            kind = nn.Conv2d if spec.interpolated else nn.ConvTranspose2d
            layers += _with_leaky_relu(f"conv{number}_1", kind(channels, after, 3, 1, 1))
            incoming = after
    net = nn.Sequential(OrderedDict(layers[:-1]))  # no ReLU after the last layer
    for module in net:
        _initialize(module, spec.slope)
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = spec.slope
    return net


def _doubling(
    number: int, incoming: int, channels: int, spec: GeneratorSpec
) -> list[tuple[str, nn.Module]]:
    """Return the layers that exactly double the size of their maps."""
    if spec.interpolated:
        enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
        conv = nn.Conv2d(incoming, channels, 3, 1, 1)
        return [(f"upsample{number}", enlarge), *_with_leaky_relu(f"conv{number}_0", conv)]
    kernel = spec.up_kernel
    deconv = nn.ConvTranspose2d(incoming, channels, kernel, 2, (kernel - 1) // 2, kernel % 2)
    return _with_leaky_relu(f"deconv{number}", deconv)


def _with_leaky_relu(name: str, layer: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer), (f"relu_{name}", nn.LeakyReLU(SLOPE))]


def _initialize(module: nn.Module, slope: float) -> None:
    has_weights = isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    # Values on "meta" are never read, and to make them torch would import its compiler.
    if has_weights and not module.weight.is_meta:
        # Each output position of an up-convolution reads kernel^2 / stride^2 weights per channel.
        kernel, stride = getattr(module, "kernel_size", (1,))[0], getattr(module, "stride", (1,))[0]
        fan = module.weight[0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            fan = module.in_channels * kernel**2 / stride**2
        nn.init.normal_(module.weight, std=(2 / (1 + slope**2) / fan) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """A frozen generator: codes (n, *code) to images (n, 3, size, size).

    `forward` does not clip images to [0, 1], so that gradients pass everywhere; `draw` clips them.

    Attributes:
        name: the name under which it was loaded.
        spec: its architecture.
        net: the layers; `spec.bgr_mean` defines the range of their output.
        origin: source of its weights.
        encoder_digest: digest of the weights of the network whose codes it reads, see
            `weights.state_digest`; "" if it is not known.
        resized: size to which images are resized, in pixels; None to leave them as they are.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        origin: str,
        spec: GeneratorSpec,
        encoder_digest: str = "",
    ) -> None:
        super().__init__()
        self.name, self.spec, self.origin = name, spec, origin
        self.encoder_digest = encoder_digest
        self.resized: Size | None = None
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, codes: Float[Tensor, "n ..."]) -> Images:
        """Generate images, mostly in [0, 1] but not clipped.

        Raises:
            InputError: the codes have another shape.
        """
        if tuple(codes.shape[1:]) != self.spec.code:
            given, wanted = tuple(codes.shape[1:]), self.spec.code
            raise InputError(
                f"codes of shape {given} for {self.name}, which reads {wanted} of "
                f"{self.spec.encoder}'s {self.spec.layer}; encode with that network and layer"
            )
        images = to_rgb(self.net(codes), self.spec)
        size = height_and_width(self.resized) if self.resized else images.shape[-2:]
        if tuple(images.shape[-2:]) == tuple(size):
            return images
        return functional.interpolate(images, size, mode="bilinear", antialias=True)

    def draw(self, codes: Float[Tensor, "n ..."]) -> Images:
        """Generate images in [0, 1] from codes on any device."""
        return self(codes.to(next(self.parameters()).device)).clamp(0, 1)


def to_rgb(output: Float[Tensor, "n 3 h w"], spec: GeneratorSpec) -> Images:
    """Convert the output of the layers to RGB on the scale [0, 1], not clipped."""
    if spec.output:
        height, width = spec.output
        top, left = (output.shape[-2] - height) // 2, (output.shape[-1] - width) // 2
        output = output[..., top : top + height, left : left + width]
    if spec.bgr_mean is None:
        return 0.5 + 0.25 * output
    mean = torch.tensor(spec.bgr_mean, device=output.device).view(3, 1, 1)
    return (output + mean).flip(1) / 255


def shipped() -> dict[str, dict]:
    """Return the table of shipped generators: name -> recipe, losses on held-out images, hash."""
    return read_table(TABLE)


def load(name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0) -> Generator:
    """Load a generator, frozen.

    Args:
        name: a key of `SPECS`: a shipped mini, or a full-size one such as "deepsim_fc6".
        weights: a weights file; torch conversions of the authors' release fit as they are.
            "random" for random weights; empty for the shipped minis.
        device: torch device.
        seed: seed of "random" weights.

    Raises:
        NameNotFound: no generator has that name.
        InputError: the weights do not fit, or are required and not given.
        FileError: the weights file is missing, damaged or contains code.

    Source: Dosovitskiy and Brox 2016; Nguyen et al. 2016.
    """
    spec = choose("generator", name, SPECS)
    net, origin = build_loaded(lambda: assemble(spec), name, weights, shipped(), seed)
    return Generator(name, net, origin, spec).to(device)


def build_loaded(
    build_net: Callable[[], nn.Sequential],
    name: str,
    weights: str | Path,
    table: Mapping[str, dict],
    seed: int,
) -> tuple[nn.Sequential, str]:
    """Build a network and load the requested weights, or those shipped under its name.

    Args:
        build_net: function that builds the network with random weights.
        name: name of the network.
        weights: a weights file, "random", or "" for the shipped weights.
        table: table of the shipped networks.
        seed: seed of the random weights.

    Returns:
        The network, and the origin of its weights.

    Raises:
        InputError: no weights are given and none are shipped, or they do not fit.
        FileError: the weights file is missing, damaged or contains code.
    """
    if not weights and name not in table:
        raise InputError(f"no weights are shipped for {name}; give weights=FILE")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build_net()
    if weights == "random":
        return net, "random weights"
    path = Path(weights or WEIGHTS / f"{name}.safetensors")
    load_into(net, _strip_wrappers(read_state(path)), path.name)
    return net, f"weights file {path.name}" if weights else "trained by this project"


def _strip_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove what conversions add to layer names: a leading "G.", an inner ".1"."""
    return {key.removeprefix("G.").replace(".1.", "."): value for key, value in state.items()}
