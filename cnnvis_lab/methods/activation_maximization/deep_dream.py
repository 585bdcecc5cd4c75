"""DeepDream (Mordvintsev et al. 2015): amplify what a layer detects in a photograph."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, with_gradients
from ...core.optimization import (
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
    transforms,
)
from ...models import Model, fit_channels


@with_gradients
def deep_dream(
    model: Model,
    layer: str,
    image: Float[Tensor, "c h w"],
    *,
    octaves: int = 3,
    scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.012,
    seed: int = 0,
) -> Float[Tensor, "channels h w"]:
    """Amplify what a layer detects in a photograph, from coarse to fine.

    Each octave resizes the photograph to a larger size, adds the enlarged changes of the previous
    octave, and maximizes the mean square of the layer's activations on randomly shifted images.

    Args:
        model: the network.
        layer: a convolutional layer; dotted name or alias.
        image: the photograph, in [0, 1], of any size that the layer accepts.
        octaves: number of sizes.
        scale: ratio of successive sizes.
        steps: number of steps per octave.
        rate: mean change of a pixel per step.
        seed: seed of the random shifts.

    Returns:
        The changed photograph, with the network's channels.

    Source: Mordvintsev, Olah and Tyka 2015 (steps along the gradient divided by its mean
    magnitude; their rate of 1.5 in 0..255 is half of the default here); survey section 3.
    """
    image = fit_channels(model, image)
    height, width = image.shape[-2:]
    sizes = [(round(height / scale**o), round(width / scale**o)) for o in reversed(range(octaves))]
    energy = objectives.Objective(
        (layer,), lambda acts, *_: acts[layer].square().flatten(1).mean(1)
    )
    phase = Phase(steps, optimizers.normalized_gradient(rate), transforms.roll(16))
    dream = detail = torch.zeros(1, len(image), *sizes[0])
    for size in sizes:
        base = functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)
        detail = functional.interpolate(detail, size=size, mode="bilinear")
        space = image_space.pixels((base + detail).clamp(0, 1).to(model.device))
        dream = ascend(model, energy, space, phase, Options(seed)).images.cpu()
        detail = dream - base
    return dream[0]


def deep_dreams(
    model: Model, image: Float[Tensor, "c h w"], **settings: Any
) -> dict[str, Float[Tensor, "channels h w"]]:
    """Amplify what the middle and the last convolutional layer detect in a photograph.

    Args:
        model: the network.
        image: the photograph, in [0, 1].
        **settings: as for `deep_dream`.

    Returns:
        layer -> the changed photograph.
    """
    shapes = model.layer_shapes([*model.default_layers()])
    maps = [layer for layer, shape in shapes.items() if len(shape) == 3]
    layers = dict.fromkeys([maps[(len(maps) - 1) // 2], maps[-1]])
    return {layer: deep_dream(model, layer, image, **settings) for layer in layers}
