"""Generators: from a network's code of a picture back to a natural-looking picture.

The family of Dosovitskiy and Brox (2016, DeePSiM) at full size, whose published weights fit, and
minis of the same plan for 128x128 pictures: full layers (or convolutions, for a code that is a
map), then up-convolutions that double the picture, with leaky ReLUs of slope 0.3 between.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core import Float, Images, InputError, not_found
from ..data import images
from .registry import WEIGHTS
from .weights import load_into, read_state

SLOPE = 0.3
TABLE = WEIGHTS / "generators.json"


@dataclass(frozen=True)
class GeneratorSpec:
    """A generator's plan.

    Attributes:
        encoder: network whose code it reads.
        layer: that network's layer, after its ReLU where it has one.
        code: shape of one code.
        full: widths of the full layers defc7, defc6, ...; the last is reshaped to 4x4 maps. Empty
            for a code that is a map.
        convs: (channels, kernel, padding) of Rconv6, Rconv7, ..., for a code that is a map.
        ups: (channels, channels of the 3x3 layer behind or 0) of each doubling; the last is RGB.
        bgr_mean: the output is blue, green, red on 0..255 less this mean; None: RGB about gray, a
            quarter of the range to the unit.
        up_kernel: side of the kernels of the doubling layers.
        slope: of the leaky ReLUs.
    """

    encoder: str
    layer: str
    code: tuple[int, ...]
    full: tuple[int, ...]
    convs: tuple[tuple[int, int, int], ...]
    ups: tuple[tuple[int, int], ...]
    bgr_mean: tuple[float, float, float] | None = None
    up_kernel: int = 4
    slope: float = SLOPE

    @property
    def size(self) -> int:
        """Side of the picture it draws."""
        side = 4 if self.full else self.code[-1]
        for _, kernel, padding in self.convs:
            side += 2 * padding - kernel + 1
        return side * 2 ** len(self.ups)


# nets/upconv/*/generator.prototxt of the authors' release; layer names as in its torch conversions.
_FULL_UPS = ((256, 512), (256, 256), (128, 128), (64, 0), (32, 0), (3, 0))
_FULL_SIZE = {"ups": _FULL_UPS, "bgr_mean": images.CAFFENET_BGR}
_MINI_UPS = ((80, 80), (64, 64), (48, 48), (24, 24), (3, 0))
SPECS: dict[str, GeneratorSpec] = {
    "deepsim_fc6": GeneratorSpec("caffenet", "FL1.relu", (4096,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_fc7": GeneratorSpec("caffenet", "FL2.relu", (4096,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_fc8": GeneratorSpec("caffenet", "FL3", (1000,), (4096,) * 3, (), **_FULL_SIZE),
    "deepsim_pool5": GeneratorSpec(
        "caffenet", "pool5", (256, 6, 6), (), ((512, 3, 1), (512, 3, 1), (512, 3, 0)), **_FULL_SIZE
    ),
    "generator_FL1": GeneratorSpec("alexnet_mini", "FL1.relu", (384,), (256, 1280), (), _MINI_UPS),
    "generator_FL2": GeneratorSpec("alexnet_mini", "FL2.relu", (384,), (256, 1280), (), _MINI_UPS),
    "generator_FL3": GeneratorSpec("alexnet_mini", "FL3", (16,), (256, 1280), (), _MINI_UPS),
    "generator_CL5": GeneratorSpec(
        "alexnet_mini", "pool5", (80, 3, 3), (), ((96, 3, 1), (80, 2, 1)), _MINI_UPS
    ),
}
SPECS["generator_FL1_image_loss"] = SPECS["generator_FL1"]


def build(name: str) -> nn.Sequential:
    """Build a generator's layers with fresh random weights.

    Raises:
        NameNotFound: no such generator.
    """
    if name not in SPECS:
        raise not_found("generator", name, SPECS)
    return assemble(SPECS[name])


def assemble(spec: GeneratorSpec) -> nn.Sequential:
    """Build the layers of a plan with fresh random weights."""
    layers: list[tuple[str, nn.Module]] = []
    incoming = spec.code[0]
    for number, width in zip((7, 6, 5), spec.full, strict=False):
        layers += _with_leaky_relu(f"defc{number}", nn.Linear(incoming, width))
        incoming = width
    if spec.full:
        layers.append(("reshape", nn.Unflatten(1, (incoming // 16, 4, 4))))
        incoming //= 16
    for number, (channels, kernel, padding) in enumerate(spec.convs, 6):
        layers += _with_leaky_relu(
            f"Rconv{number}", nn.Conv2d(incoming, channels, kernel, 1, padding)
        )
        incoming = channels
    for number, (channels, behind) in zip(range(len(spec.ups) - 1, -1, -1), spec.ups, strict=True):
        layers += _with_leaky_relu(
            f"deconv{number}", _upconvolution(incoming, channels, spec.up_kernel)
        )
        incoming = channels
        if behind:
            layers += _with_leaky_relu(
                f"conv{number}_1", nn.ConvTranspose2d(channels, behind, 3, 1, 1)
            )
            incoming = behind
    net = nn.Sequential(OrderedDict(layers[:-1]))  # no ReLU after the picture
    for module in net:
        _initialize(module, spec.slope)
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = spec.slope
    return net


def _upconvolution(incoming: int, channels: int, kernel: int) -> nn.ConvTranspose2d:
    """An up-convolution that doubles the map exactly."""
    padding = (kernel - 1) // 2
    return nn.ConvTranspose2d(incoming, channels, kernel, 2, padding, kernel % 2)


def _with_leaky_relu(name: str, layer: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer), (f"relu_{name}", nn.LeakyReLU(SLOPE))]


def _initialize(module: nn.Module, slope: float) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        # A position of an up-convolution is reached by kernel^2 / stride^2 weights a channel.
        kernel, stride = getattr(module, "kernel_size", (1,))[0], getattr(module, "stride", (1,))[0]
        fan = module.weight[0].numel()
        if isinstance(module, nn.ConvTranspose2d):
            fan = module.in_channels * kernel**2 / stride**2
        nn.init.normal_(module.weight, std=(2 / (1 + slope**2) / fan) ** 0.5)
        nn.init.zeros_(module.bias)


class Generator(nn.Module):
    """A frozen generator: codes (n, *code) to pictures (n, 3, size, size).

    Values follow the range [0, 1] without being cut to it, so that gradients pass everywhere;
    `draw` cuts.

    Attributes:
        name: the name it was loaded by.
        spec: its plan.
        net: the layers; their output is as `spec.bgr_mean` says.
        origin: where its weights come from.
    """

    def __init__(
        self, name: str, net: nn.Module, origin: str, spec: GeneratorSpec | None = None
    ) -> None:
        super().__init__()
        self.name, self.spec, self.origin = name, spec or SPECS[name], origin
        self.net = net.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, codes: Float[Tensor, "n ..."]) -> Images:
        """Draw pictures in the range of [0, 1], not cut to it.

        Raises:
            InputError: codes of another shape.
        """
        if tuple(codes.shape[1:]) != self.spec.code:
            given, wanted = tuple(codes.shape[1:]), self.spec.code
            raise InputError(
                f"codes of shape {given} for {self.name}, which reads {wanted} of "
                f"{self.spec.encoder}'s {self.spec.layer}; encode with that network and layer"
            )
        return to_rgb(self.net(codes), self.spec)

    def draw(self, codes: Float[Tensor, "n ..."]) -> Images:
        """Draw pictures in [0, 1]."""
        return self(codes).clamp(0, 1)


def to_rgb(output: Float[Tensor, "n 3 h w"], spec: GeneratorSpec) -> Images:
    """Turn what the layers give into RGB of the range [0, 1]."""
    if spec.bgr_mean is None:
        return 0.5 + 0.25 * output
    mean = torch.tensor(spec.bgr_mean, device=output.device).view(3, 1, 1)
    return (output + mean).flip(1) / 255


def shipped() -> dict[str, dict]:
    """Return the table of shipped generators: name -> recipe, losses on held-out pictures, hash."""
    return json.loads(TABLE.read_text()) if TABLE.is_file() else {}


def load(name: str, *, weights: str | Path = "", device: str = "cpu", seed: int = 0) -> Generator:
    """Load a generator, frozen.

    Args:
        name: one of `SPECS`: the shipped minis, or "deepsim_fc6" and its like.
        weights: a weights file; the torch conversions of the authors' release fit as they are.
            "random" for a fresh one; empty for the shipped minis.
        device: torch device.
        seed: seeds "random" weights.

    Raises:
        NameNotFound: no generator of that name.
        InputError: weights that do not fit, or needed and not given.
        FileProblem: a weights file that is missing, damaged or holds code.

    Source: Dosovitskiy and Brox 2016; Nguyen et al. 2016.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build(name)
    origin = load_weights(net, name, weights, shipped())
    return Generator(name, net, origin).to(device)


def load_weights(net: nn.Module, name: str, weights: str | Path, table: Mapping[str, dict]) -> str:
    """Put the weights asked for, or those shipped under a name, into a net; return their origin.

    Raises:
        InputError: none given and none shipped, or they do not fit.
        FileProblem: a weights file that is missing, damaged or holds code.
    """
    if not weights and name not in table:
        raise InputError(f"{name} comes without weights here; give weights=FILE")
    if weights == "random":
        return "random weights"
    path = Path(weights or WEIGHTS / f"{name}.safetensors")
    load_into(net, _strip_wrappers(read_state(path)), path.name)
    return f"weights file {path.name}" if weights else "trained by this project"


def _strip_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop what conversions put around the layers' names: a "G." before, a ".1" within."""
    return {key.removeprefix("G.").replace(".1.", "."): value for key, value in state.items()}
