"""Survey figure F8 step by step: from image to code, and back by optimization and a decoder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...core import Float, InputError, features, hooks
from ...core.optimization import Options
from ...models import Model
from ...models.generators import Generator
from .invert import invert
from .recipes import Recipe

# Fractions of the optimization after which the image is shown, but never before the first step.
SHOWN_FRACTIONS = (0.0, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Walkthrough:
    """An image, its code, and two reconstructions from the code.

    Attributes:
        layers: the layers shown; the code of the last one is inverted.
        encoder_maps: the image (3, h, w), then each layer's feature map (h, w) with the largest
            norm.
        steps: numbers of optimization steps after which an image is shown.
        iterates: the images after these steps.
        errors: normalized feature errors of these images.
        decoder_stages: names of the decoder's stages shown, in the order of the computation.
        decoder_maps: the feature map with the largest norm at each stage, finally the decoder's
            image; empty without a decoder.
    """

    layers: tuple[str, ...]
    encoder_maps: list[Tensor]
    steps: tuple[int, ...]
    iterates: list[Tensor]
    errors: tuple[float, ...]
    decoder_stages: tuple[str, ...]
    decoder_maps: list[Tensor]


def walkthrough(
    model: Model,
    layers: Sequence[str],
    image: Float[Tensor, "c h w"],
    decoders: Mapping[str, Generator] | None = None,
    *,
    recipe: str | Recipe = "default",
    steps: int | None = None,
    seed: int = 0,
) -> Walkthrough:
    """Compute an image's code in a layer, and invert the code in two ways.

    Args:
        model: the network.
        layers: layers with feature maps, up to the one to invert.
        image: in [0, 1], of the network's input size.
        decoders: layer -> decoder; without one of the last layer, optimization only.
        recipe: how to optimize, see `inversion.invert`.
        steps: number of optimization steps; None for the recipe's.
        seed: seed of the random start.

    Raises:
        InputError: a layer without feature maps.

    Source: survey figure F8.
    """
    codes = features.extract(model, image[None], layers)
    for layer, code in codes.items():
        if code.ndim != 4:
            raise InputError(f"{layer} has no feature maps to show; choose convolutional layers")
    iterates: list[Tensor] = []
    inversion = invert(
        model,
        {layers[-1]: codes[layers[-1]]},
        recipe=recipe,
        steps=steps,
        stop_below=0.0,
        options=Options(seed, on_step=lambda images: iterates.append(images[0].cpu().clone())),
    )
    # The error recorded before step k is that of the image after k steps.
    errors = [*inversion.history.flatten().tolist()[1:], float(inversion.errors)]
    shown = sorted({max(1, round(fraction * len(iterates))) for fraction in SHOWN_FRACTIONS})
    decoder = (decoders or {}).get(layers[-1])
    stages, decoder_maps = _decode(decoder, codes[layers[-1]]) if decoder else ((), [])
    return Walkthrough(
        tuple(layers),
        [image.cpu(), *(map_of_most_energy(codes[layer]) for layer in layers)],
        tuple(shown),
        [iterates[step - 1] for step in shown],
        tuple(errors[step - 1] for step in shown),
        stages,
        decoder_maps,
    )


def walkthrough_layers(codes: Mapping[str, Tensor], decoders: Collection[str] = ()) -> list[str]:
    """Return five layers: those up to the last one that has a decoder, or else the first ones.

    Args:
        codes: layer -> its features, in the order of the layers; only layers with maps are shown.
        decoders: layers that have a decoder.
    """
    maps = [layer for layer, code in codes.items() if code.ndim == 4]
    end = max((n for n, layer in enumerate(maps, 1) if layer in decoders), default=5)
    return maps[max(0, end - 5) : end]


def map_of_most_energy(maps: Float[Tensor, "1 maps h w"]) -> Float[Tensor, "h w"]:
    """Return the feature map with the largest norm."""
    return maps[0, int(maps[0].flatten(1).norm(dim=1).argmax())].detach().cpu()


def _decode(
    decoder: Generator, code: Float[Tensor, "1 ..."]
) -> tuple[tuple[str, ...], list[Tensor]]:
    """Return names and maps of a decoder's stages: after each up-convolution, and the image."""
    layers = pairwise(decoder.net.named_children())
    shown = [before for (before, _), (_, layer) in layers if _doubles(layer)]
    with torch.no_grad():
        maps = hooks.activations(decoder.net, code, shown)
        image = decoder.draw(code)[0].cpu()
    numbered = (f"up-convolution {n}" for n in range(1, len(shown)))
    stages = ("convolutions", *numbered, "image")
    return stages, [*(map_of_most_energy(maps[name]) for name in shown), image]


def _doubles(layer: nn.Module) -> bool:
    """Return whether a layer of a decoder doubles the size of its maps."""
    if isinstance(layer, nn.ConvTranspose2d):
        return layer.stride[0] == 2
    return isinstance(layer, nn.Upsample)
