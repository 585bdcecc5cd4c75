"""The AlexNet, CaffeNet and ZFNet families, at full size and as minis for 128x128 pictures.

A network is a plain `nn.Sequential` whose modules carry Caffe's names: conv1, relu1, pool1, norm1,
..., fc6, relu6, drop6, ..., fc8.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from ..core.errors import InputError, not_found


@dataclass(frozen=True)
class ConvSpec:
    """One convolutional layer: what follows the convolution comes in the order of `Net.order`."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: bool = False
    norm: bool = False


@dataclass(frozen=True)
class NetSpec:
    """A network of the family.

    Attributes:
        input_size: side of the square input, in pixels.
        convs: the five convolutional layers.
        hidden: widths of FL1 and FL2.
        norm_before_pool: AlexNet's order (normalise, pool); CaffeNet pools first.
        ceil_mode: pooling windows may hang over the border, as in Caffe.
        pool_padding: padding of the 3x3 stride-2 pools.
    """

    input_size: int
    convs: tuple[ConvSpec, ...]
    hidden: tuple[int, int] = (4096, 4096)
    norm_before_pool: bool = False
    ceil_mode: bool = False
    pool_padding: int = 0


def _convs(*rows: tuple) -> tuple[ConvSpec, ...]:
    return tuple(ConvSpec(*row) for row in rows)


SPECS: dict[str, NetSpec] = {
    # Krizhevsky et al. 2012, section 3.5, both towers in one through two groups.
    "alexnet2012": NetSpec(
        227,
        _convs(
            (96, 11, 4, 0, 1, True, True),
            (256, 5, 1, 2, 2, True, True),
            (384, 3, 1, 1),
            (384, 3, 1, 1, 2),
            (256, 3, 1, 1, 2, True),
        ),
        norm_before_pool=True,
    ),
    # BVLC reference CaffeNet: pooling before normalisation, ceil-mode pooling.
    "caffenet": NetSpec(
        227,
        _convs(
            (96, 11, 4, 0, 1, True, True),
            (256, 5, 1, 2, 2, True, True),
            (384, 3, 1, 1),
            (384, 3, 1, 1, 2),
            (256, 3, 1, 1, 2, True),
        ),
        ceil_mode=True,
    ),
    # Zeiler and Fergus 2013, figure 3: 7x7 stride 2 first layer, stride 2 in the second.
    "zfnet": NetSpec(
        224,
        _convs(
            (96, 7, 2, 1, 1, True, True),
            (256, 5, 2, 0, 1, True, True),
            (384, 3, 1, 1),
            (384, 3, 1, 1),
            (256, 3, 1, 1, 1, True),
        ),
        pool_padding=1,
    ),
    "alexnet_mini": NetSpec(
        128,
        _convs(
            (48, 11, 4, 2, 1, True),
            (80, 5, 1, 2, 1, True),
            (112, 3, 1, 1),
            (112, 3, 1, 1),
            (80, 3, 1, 1, 1, True),
        ),
        hidden=(384, 384),
    ),
    "caffenet_mini": NetSpec(
        128,
        _convs(
            (48, 11, 4, 2, 1, True, True),
            (96, 5, 1, 2, 2, True, True),
            (128, 3, 1, 1),
            (128, 3, 1, 1, 2),
            (96, 3, 1, 1, 2, True),
        ),
        hidden=(384, 384),
        ceil_mode=True,
    ),
    "zfnet_mini": NetSpec(
        128,
        _convs(
            (48, 7, 2, 1, 1, True),
            (80, 5, 2, 2, 1, True),
            (112, 3, 1, 1),
            (112, 3, 1, 1),
            (80, 3, 1, 1, 1, True),
        ),
        hidden=(384, 384),
    ),
}


def build(
    family: str, classes: int, *, dropout: float = 0.5, batch_norm: bool = False
) -> nn.Sequential:
    """Build a network of the family with fresh random weights (He's initialisation).

    Args:
        family: one of `SPECS`.
        classes: number of outputs.
        dropout: share of FL1's and FL2's units dropped in training; 0 builds none.
        batch_norm: a batch normalisation after each convolution and hidden full layer.

    Raises:
        NameNotFound: no such family.
        InputError: dropout outside [0, 1), or no class.
    """
    if family not in SPECS:
        raise not_found("network family", family, SPECS)
    if not 0 <= dropout < 1 or classes < 1:
        raise InputError(f"dropout {dropout} and {classes} classes: expected [0, 1) and at least 1")
    spec = SPECS[family]
    net = nn.Sequential(OrderedDict(_conv_part(spec, batch_norm)))
    flat = _flat_width(spec)
    for name, module in _full_part(spec, flat, classes, dropout, batch_norm):
        net.add_module(name, module)
    net.apply(_initialise)
    return net


def _conv_part(spec: NetSpec, batch_norm: bool) -> list[tuple[str, nn.Module]]:
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
        pool = nn.MaxPool2d(3, 2, spec.pool_padding, ceil_mode=spec.ceil_mode)
        norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0 if spec.ceil_mode else 2.0)
        after = [(f"pool{number}", pool)] * conv.pool + [(f"norm{number}", norm)] * conv.norm
        modules += reversed(after) if spec.norm_before_pool else after
        incoming = conv.channels
    return modules


def _full_part(
    spec: NetSpec, flat: int, classes: int, dropout: float, batch_norm: bool
) -> list[tuple[str, nn.Module]]:
    modules: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    incoming = flat
    for number, width in enumerate(spec.hidden, 6):
        modules.append((f"fc{number}", nn.Linear(incoming, width)))
        if batch_norm:
            modules.append((f"bn{number}", nn.BatchNorm1d(width)))
        modules.append((f"relu{number}", nn.ReLU()))
        if dropout:
            modules.append((f"drop{number}", nn.Dropout(dropout)))
        incoming = width
    return [*modules, ("fc8", nn.Linear(incoming, classes))]


def _flat_width(spec: NetSpec) -> int:
    """Units that FL1 reads: channels times positions after the last pool."""
    size = spec.input_size
    for conv in spec.convs:
        size = (size + 2 * conv.padding - conv.kernel) // conv.stride + 1
        if conv.pool:
            reach = size + 2 * spec.pool_padding - 3
            size = (-(-reach // 2) if spec.ceil_mode else reach // 2) + 1
    return spec.convs[-1].channels * size * size


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
