"""The AlexNet, CaffeNet and ZFNet families, at full size and in mini versions for 128x128 images.

A network is a plain `nn.Sequential` whose modules have Caffe's names: conv1, relu1, pool1, norm1,
..., fc6, relu6, drop6, ..., fc8. There is also a small residual network, used as the independent
classifier, because its architecture differs from those of the visualized networks.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from ..core import InputError, choose

FIRST_LAYER_STD = 0.01  # Krizhevsky et al. 2012, section 5; Zeiler and Fergus 2013, section 3


@dataclass(frozen=True)
class ConvSpec:
    """One convolutional layer.

    Attributes:
        channels: number of output channels.
        kernel: kernel size.
        stride: stride.
        padding: zero padding.
        groups: groups of the convolution.
        pool: add 3x3 max-pooling of stride 2.
        norm: add local response normalization.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: bool = False
    norm: bool = False


@dataclass(frozen=True)
class NetSpec:
    """Architecture of a network of the family.

    Attributes:
        input_size: height and width of the square input, in pixels.
        convs: the convolutional layers.
        hidden: widths of FL1 and FL2.
        norm_before_pool: normalize before pooling, as AlexNet does; CaffeNet pools first.
        ceil_mode: pooling windows may extend beyond the border, as in Caffe.
        lrn: alpha and k of the local response normalization; torch, like Caffe, divides alpha by
            the 5 channels of the window, so Krizhevsky's 1e-4 is 5e-4 here.
    """

    input_size: int
    convs: tuple[ConvSpec, ...]
    hidden: tuple[int, int] = (4096, 4096)
    norm_before_pool: bool = False
    ceil_mode: bool = False
    lrn: tuple[float, float] = (5e-4, 2.0)


@dataclass(frozen=True)
class ResidualSpec:
    """Architecture of a residual network with batch normalization (He et al. 2016).

    Attributes:
        input_size: height and width of the square input, in pixels.
        widths: channels of the 5x5 stem and of each stage; each of them halves the size of the
            maps.
    """

    input_size: int
    widths: tuple[int, ...]


def _conv_specs(*rows: tuple) -> tuple[ConvSpec, ...]:
    return tuple(ConvSpec(*row) for row in rows)


_ALEXNET_CONVS = _conv_specs(
    (96, 11, 4, 0, 1, True, True),
    (256, 5, 1, 2, 2, True, True),
    (384, 3, 1, 1),
    (384, 3, 1, 1, 2),
    (256, 3, 1, 1, 2, True),
)
_MINI_LAST_CONVS = ((112, 3, 1, 1), (112, 3, 1, 1), (80, 3, 1, 1, 1, True))
SPECS: dict[str, NetSpec | ResidualSpec] = {
    # Krizhevsky et al. 2012, section 3.5; the two towers are the two groups of the convolutions.
    "alexnet2012": NetSpec(
        227,
        _ALEXNET_CONVS,
        norm_before_pool=True,
    ),
    # BVLC reference CaffeNet: pooling before normalization, ceil-mode pooling.
    "caffenet": NetSpec(
        227,
        _ALEXNET_CONVS,
        ceil_mode=True,
        lrn=(1e-4, 1.0),
    ),
    # Zeiler and Fergus 2013, figure 3: 7x7 stride 2 first layer, stride 2 in the second.
    "zfnet": NetSpec(
        224,
        _conv_specs(
            (96, 7, 2, 1, 1, True, True),
            (256, 5, 2, 0, 1, True, True),
            (384, 3, 1, 1),
            (384, 3, 1, 1),
            (256, 3, 1, 1, 1, True),
        ),
        ceil_mode=True,
    ),
    "alexnet_mini": NetSpec(
        128,
        _conv_specs((48, 11, 4, 2, 1, True), (80, 5, 1, 2, 1, True), *_MINI_LAST_CONVS),
        hidden=(384, 384),
    ),
    "alexnet_mini_half_width": NetSpec(
        128,
        _conv_specs(
            (24, 11, 4, 2, 1, True),
            (40, 5, 1, 2, 1, True),
            (56, 3, 1, 1),
            (56, 3, 1, 1),
            (40, 3, 1, 1, 1, True),
        ),
        hidden=(192, 192),
    ),
    "caffenet_mini": NetSpec(
        128,
        _conv_specs(
            (48, 11, 4, 2, 1, True, True),
            (96, 5, 1, 2, 2, True, True),
            (128, 3, 1, 1),
            (128, 3, 1, 1, 2),
            (96, 3, 1, 1, 2, True),
        ),
        hidden=(384, 384),
        ceil_mode=True,
        lrn=(1e-4, 1.0),
    ),
    "zfnet_mini": NetSpec(
        128,
        _conv_specs((48, 7, 2, 1, 1, True), (80, 5, 2, 2, 1, True), *_MINI_LAST_CONVS),
        hidden=(384, 384),
    ),
    "judge_mini": ResidualSpec(128, (24, 32, 64, 112)),
}


def build(
    family: str, classes: int, *, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Sequential:
    """Build a network with random weights (He initialization, except for the first layer).

    Args:
        family: a key of `SPECS`.
        classes: number of outputs.
        dropout: fraction of FL1's and FL2's units dropped in training, or of the residual
            network's pooled features; 0 adds no dropout layers.
        batch_norm: add batch normalization after each convolution and hidden fully connected
            layer; the residual network always has it.

    Raises:
        NameNotFound: no such family.
        InputError: `dropout` is outside [0, 1), or `classes` is below 1.
    """
    spec = choose("network family", family, SPECS)
    if not 0 <= dropout < 1 or classes < 1:
        raise InputError(f"dropout {dropout} and {classes} classes: expected [0, 1) and at least 1")
    if isinstance(spec, ResidualSpec):
        layers = _residual_layers(spec, classes, dropout)
    else:
        layers = _conv_layers(spec, batch_norm)
        layers += _fully_connected_layers(spec, classes, dropout, batch_norm)
    net = nn.Sequential(OrderedDict(layers))
    net.apply(_initialize)
    if isinstance(spec, NetSpec):
        # The first kernels start small, as Krizhevsky's and Zeiler's did; otherwise the initial
        # noise would still be visible in them after training.
        nn.init.normal_(next(net.parameters()), std=FIRST_LAYER_STD)
    return net


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, in parallel with a 1x1 shortcut.

    Args:
        incoming: input channels.
        channels: output channels.
    """

    def __init__(self, incoming: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, channels, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(incoming, channels, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of half the size."""
        inner = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


def _residual_layers(
    spec: ResidualSpec, classes: int, dropout: float
) -> list[tuple[str, nn.Module]]:
    stem, *stages = spec.widths
    layers: list[tuple[str, nn.Module]] = [
        ("stem", nn.Conv2d(3, stem, 5, 2, 2)),
        ("bn", nn.BatchNorm2d(stem)),
        ("relu", nn.ReLU()),
    ]
    pairs = zip(spec.widths, stages, strict=False)
    layers += [(f"stage{n}", ResidualBlock(i, o)) for n, (i, o) in enumerate(pairs, 1)]
    layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    layers += [("drop", nn.Dropout(dropout))] * bool(dropout)
    return [*layers, ("fc", nn.Linear(spec.widths[-1], classes))]


def _conv_layers(spec: NetSpec, batch_norm: bool) -> list[tuple[str, nn.Module]]:
    modules: list[tuple[str, nn.Module]] = []
    incoming = 3
    for number, conv in enumerate(spec.convs, 1):
        modules.append(
            (
                f"conv{number}",
                nn.Conv2d(
                    incoming,
                    conv.channels,
                    conv.kernel,
                    conv.stride,
                    conv.padding,
                    groups=conv.groups,
                ),
            )
        )
        if batch_norm:
            modules.append((f"bn{number}", nn.BatchNorm2d(conv.channels)))
        modules.append((f"relu{number}", nn.ReLU()))
        pool = nn.MaxPool2d(3, 2, ceil_mode=spec.ceil_mode)
        alpha, k = spec.lrn
        norm = nn.LocalResponseNorm(5, alpha, 0.75, k)
        after = [(f"pool{number}", pool)] * conv.pool + [(f"norm{number}", norm)] * conv.norm
        modules += reversed(after) if spec.norm_before_pool else after
        incoming = conv.channels
    return modules


def _fully_connected_layers(
    spec: NetSpec, classes: int, dropout: float, batch_norm: bool
) -> list[tuple[str, nn.Module]]:
    modules: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    incoming = _flattened_width(spec)
    for number, width in enumerate(spec.hidden, 6):
        modules.append((f"fc{number}", nn.Linear(incoming, width)))
        if batch_norm:
            modules.append((f"bn{number}", nn.BatchNorm1d(width)))
        modules.append((f"relu{number}", nn.ReLU()))
        if dropout:
            modules.append((f"drop{number}", nn.Dropout(dropout)))
        incoming = width
    return [*modules, ("fc8", nn.Linear(incoming, classes))]


def _flattened_width(spec: NetSpec) -> int:
    """Return the number of inputs of FL1: channels times positions after the last pooling."""
    size = spec.input_size
    for conv in spec.convs:
        size = (size + 2 * conv.padding - conv.kernel) // conv.stride + 1
        if conv.pool:
            size = (size - 3 + spec.ceil_mode) // 2 + 1
    return spec.convs[-1].channels * size * size


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
