"""DeepDream (Mordvintsev et al. 2015): amplify what a layer detects in a photograph."""

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float
from ...core.optimization import (
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
    transforms,
)
from ...models import Model


def deep_dream(
    model: Model,
    layer: str,
    image: Float[Tensor, "3 h w"],
    *,
    octaves: int = 3,
    scale: float = 1.4,
    steps: int = 10,
    rate: float = 0.012,
    seed: int = 0,
) -> Float[Tensor, "3 h w"]:
    """Exaggerate what a layer sees in a photograph, from coarse to fine.

    At each octave the picture as dreamt so far is enlarged, the detail the enlargement lost is put
    back, and the mean square of the layer's activations is climbed on the shifted picture.

    Args:
        model: the network.
        layer: a layer of maps; dotted name or alias.
        image: the photograph, in [0, 1], of any size the layer can take.
        octaves: sizes worked at.
        scale: from one to the next.
        steps: at each.
        rate: change per step of an average pixel.
        seed: of the shifts.

    Source: Mordvintsev, Olah and Tyka 2015 (steps of the gradient over its mean size; their rate
    of 1.5 on 0..255 is half of the default here); survey section 3.
    """
    height, width = image.shape[-2:]
    sizes = [(round(height / scale**o), round(width / scale**o)) for o in reversed(range(octaves))]
    detail = torch.zeros(1, 3, *sizes[0])
    for size in sizes:
        base = functional.interpolate(image[None], size=size, mode="bilinear", antialias=True)
        detail = functional.interpolate(detail, size=size, mode="bilinear")
        dreamt = ascend(
            model,
            objectives.Objective(
                (layer,), lambda acts, *_: acts[layer].square().flatten(1).mean(1)
            ),
            image_space.pixels((base + detail).clamp(0, 1).to(model.device)),
            Phase(steps, optimizers.normalized_gradient(rate), transforms.roll(16)),
            Options(seed),
        ).images.cpu()
        detail = dreamt - base
    return dreamt[0]
