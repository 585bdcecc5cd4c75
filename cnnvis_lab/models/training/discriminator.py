"""The adversary of a generator in training: is this picture real, and does it fit its code?

It looks at a picture twice: at a part of its pixels, and at what a trained network makes of it.
Features that already tell objects and parts apart let an adversary see within a few hundred steps
what it would take very long to find in pixels (Sauer et al. 2021, projected GANs).
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ...core import Float, Images

SLOPE = 0.2
CODE_NORM = 4.0  # of the mean code as the heads read it


class PixelHead(nn.Module):
    """A verdict on each patch of pixels; above 0 for real."""

    def __init__(self, widths: Sequence[int] = (24, 32, 48)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, channels in itertools.pairwise((3, *widths)):
            layers += [_conv(incoming, channels, 4, 2), nn.LeakyReLU(SLOPE)]
        self.patches = nn.Sequential(*layers, _conv(widths[-1], 1, 3, 1))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 y x"]:
        """Judge pictures in [0, 1]."""
        return self.patches((images - 0.5) * 4)


class FeatureHead(nn.Module):
    """A verdict on each place of a layer's maps, given the code the picture was drawn from.

    The code speaks through a product with what the head sees (Miyato and Koyama 2018).

    Args:
        maps: the layer's maps of some real pictures, for their shape and size.
        code: numbers in a code.
    """

    def __init__(self, maps: Float[Tensor, "n c h w"], code: int) -> None:
        super().__init__()
        channels, side = maps.shape[1], maps.shape[-1]
        width = min(64, 960 // side)
        first = _conv(channels, width, 4, 2) if side > 8 else _conv(channels, width, 3, 1)
        slope = nn.LeakyReLU(SLOPE)
        self.size = float(maps.square().mean().sqrt())
        self.seen = nn.Sequential(first, slope, _conv(width, width, 4, 2), slope)
        self.real = _conv(width, 1, 3, 1)
        self.expected = spectral_norm(nn.Linear(code, width))

    def forward(
        self, maps: Float[Tensor, "n c h w"], codes: Float[Tensor, "n code"]
    ) -> Float[Tensor, "n 1 y x"]:
        """Judge maps together with codes of the length `CODE_LENGTH`."""
        seen = self.seen(maps / self.size)
        fits = (seen * self.expected(codes)[:, :, None, None]).sum(1, keepdim=True)
        return self.real(seen) + fits


class Discriminator(nn.Module):
    """All heads together.

    Args:
        features: each judged layer's maps of some real pictures, for their shapes and sizes.
        codes: those pictures' codes, for their length.
    """

    def __init__(self, features: Mapping[str, Tensor], codes: Tensor) -> None:
        super().__init__()
        self.layers = tuple(features)
        self.scale = CODE_NORM / float(codes.flatten(1).norm(dim=1).mean())
        self.pixels = PixelHead()
        count = codes[0].numel()
        self.features = nn.ModuleList(FeatureHead(maps, count) for maps in features.values())

    def forward(self, part: Images, features: Mapping[str, Tensor], codes: Tensor) -> list[Tensor]:
        """Return each head's verdicts: that on a part's pixels first, then a layer each."""
        codes = codes.flatten(1) * self.scale
        heads = zip(self.features, self.layers, strict=True)
        return [self.pixels(part), *(head(features[layer], codes) for head, layer in heads)]


def discriminator_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Return the critic's loss: hinges on both sides, the mean over heads."""
    hinges = [
        functional.relu(1 - right).mean() + functional.relu(1 + wrong).mean()
        for right, wrong in zip(real, made, strict=True)
    ]
    return torch.stack(hinges).mean()


def generator_loss(made: Sequence[Tensor]) -> Tensor:
    """Return the generator's loss: how little its pictures are taken for real, over heads."""
    return -torch.stack([verdict.mean() for verdict in made]).mean()


def _conv(incoming: int, channels: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(incoming, channels, kernel, stride, 1))
