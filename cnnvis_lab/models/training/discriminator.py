"""Projected discriminator for training generators: is an image real, and does it fit its code?

It reads an image in two forms: a crop of its pixels, and a trained network's features. With
features that already distinguish objects and parts, a discriminator learns within a few hundred
steps what would take far longer from pixels (Sauer et al. 2021, projected GANs).
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ...core import Float, Images

SLOPE = 0.2
CODE_NORM = 4.0  # mean norm to which codes are scaled for the heads


class PixelHead(nn.Module):
    """A score for each patch of pixels; positive for real.

    Args:
        widths: channels of the convolutions.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for incoming, channels in itertools.pairwise((3, *widths)):
            layers += [_conv(incoming, channels, 4, 2), nn.LeakyReLU(SLOPE)]
        self.patches = nn.Sequential(*layers, _conv(widths[-1], 1, 3, 1))

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 y x"]:
        """Score images in [0, 1]."""
        return self.patches((images - 0.5) * 4)


class FeatureHead(nn.Module):
    """A score for each position of a layer's maps, given the code of the image.

    The code enters through a product with the head's features (Miyato and Koyama 2018).

    Args:
        maps: the layer's maps for some real images, which determine the shape and size.
        code: number of entries in a code.
    """

    def __init__(self, maps: Float[Tensor, "n c h w"], code: int) -> None:
        super().__init__()
        channels, side = maps.shape[1], maps.shape[-1]
        width = min(64, 960 // side)
        first = _conv(channels, width, 4, 2) if side > 8 else _conv(channels, width, 3, 1)
        slope = nn.LeakyReLU(SLOPE)
        self.rms = float(maps.square().mean().sqrt())
        self.trunk = nn.Sequential(first, slope, _conv(width, width, 4, 2), slope)
        self.real = _conv(width, 1, 3, 1)
        self.projection = spectral_norm(nn.Linear(code, width))

    def forward(
        self, maps: Float[Tensor, "n c h w"], codes: Float[Tensor, "n code"]
    ) -> Float[Tensor, "n 1 y x"]:
        """Score maps together with codes of norm `CODE_NORM`."""
        features = self.trunk(maps / self.rms)
        fit = (features * self.projection(codes)[:, :, None, None]).sum(1, keepdim=True)
        return self.real(features) + fit


class Discriminator(nn.Module):
    """All heads of the discriminator.

    Args:
        features: layer -> its maps for some real images, which determine shapes and scales.
        codes: the codes of these images, which determine the number of entries.
    """

    def __init__(self, features: Mapping[str, Tensor], codes: Tensor) -> None:
        super().__init__()
        self.layers = tuple(features)
        self.scale = CODE_NORM / float(codes.flatten(1).norm(dim=1).mean())
        self.pixels = PixelHead()
        count = codes[0].numel()
        self.features = nn.ModuleList(FeatureHead(maps, count) for maps in features.values())

    def forward(
        self, images: Images, features: Mapping[str, Tensor], codes: Tensor
    ) -> list[Tensor]:
        """Return the scores of all heads: first the pixel head, then one head per layer.

        Args:
            images: in [0, 1].
            features: layer -> its maps for the images.
            codes: the codes of the images.
        """
        codes = codes.flatten(1) * self.scale
        heads = zip(self.features, self.layers, strict=True)
        return [self.pixels(images), *(head(features[layer], codes) for head, layer in heads)]


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the discriminator's hinge loss, averaged over heads."""
    hinges = [
        functional.relu(1 - right).mean() + functional.relu(1 + wrong).mean()
        for right, wrong in zip(real, fake, strict=True)
    ]
    return _mean_of_heads(hinges)


def generator_loss(fake: Sequence[Tensor]) -> Tensor:
    """Return the generator's loss: minus the mean score of its images, averaged over heads."""
    return -_mean_of_heads([score.mean() for score in fake])


def _mean_of_heads(losses: Sequence[Tensor]) -> Tensor:
    """Average losses; that of the pixel head counts as much as all others together."""
    pixels, *features = losses
    return torch.stack([pixels, torch.stack(features).mean()]).mean() if features else pixels


def _conv(incoming: int, channels: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(incoming, channels, kernel, stride, 1))
