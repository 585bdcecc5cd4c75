"""Checks of notebook 01: receptive fields, regularizers, the optimum of a linear unit, ascent."""

import torch
from torch import Tensor

from ....core import hooks, receptive_field
from ....core.optimization import objectives
from ....models import Model
from ..marking import NotSolved, as_image, as_numbers, call, noise, norms, require_equal


def unit_field(answer: object, model: Model, layer: str) -> str:
    """Check (size, stride) of a layer's receptive field, in pixels.

    Args:
        answer: two numbers.
        model: the network.
        layer: dotted name or alias.
    """
    field = receptive_field.receptive_fields(model, [layer], model.card.input_size)[layer]
    size, stride = as_numbers(answer, 2, "(size, stride)")
    if (size, stride) == (field.stride[0], field.size[0]):
        raise NotSolved("the two numbers are swapped; give the size first")
    if stride != field.stride[0]:
        error = "small" if stride < field.stride[0] else "large"
        raise NotSolved(
            f"the stride is too {error}; multiply the strides of all layers, including pooling"
        )
    if size != field.size[0]:
        error = "small" if size < field.size[0] else "large"
        hint = "each layer adds (kernel - 1) times the product of the strides before it"
        raise NotSolved(f"the stride is correct, but the size is too {error}; {hint}")
    return (
        f"the receptive field of {layer} is {size:.0f}x{size:.0f} pixels; neighboring fields are "
        f"{stride:.0f} pixels apart"
    )


def decay_step(answer: object) -> str:
    """Check a function (x, gradient, rate, decay) -> x: an ascent step, then decay to gray."""
    x, gradient, rate, decay = noise(2, 3, 5, 5) + 0.5, noise(2, 3, 5, 5, seed=1), 0.3, 0.1

    def decayed(values: Tensor, kept: float, gray: float = 0.5) -> Tensor:
        return gray + (values - gray) * kept

    up, down = x + rate * gradient, x - rate * gradient
    wrong = {
        "this step descends; add the gradient to increase the activation": decayed(down, 1 - decay),
        "this decays to black; a pixel without signal is gray, 0.5": decayed(up, 1 - decay, 0.0),
        "this keeps the fraction `decay` of the distance; remove that fraction": decayed(up, decay),
        "this decays before the step; decay after it": decayed(x, 1 - decay) + rate * gradient,
        "the step is correct, but the decay is missing": up,
    }
    require_equal(call(answer, x, gradient, rate, decay), decayed(up, 1 - decay), wrong=wrong)
    return "a step along the gradient, then decay to gray"


def total_variation(answer: object) -> str:
    """Check a function (n, c, h, w) -> (n,): the mean of dx^2 + dy^2 over all values."""
    images = noise(3, 2, 6, 9)
    dx, dy = images.diff(dim=3).flatten(1), images.diff(dim=2).flatten(1)
    across, down = dx.square().sum(1), dy.square().sum(1)
    squares, count = across + down, images[0].numel()
    wrong = {
        "this is the sum; divide by the number of values in an image": squares,
        "this is one number for the whole batch; return one per image": squares.mean() / count,
        "this uses absolute differences; square them": (dx.abs().sum(1) + dy.abs().sum(1)) / count,
        "this divides by the number of differences; divide by the number of values": across
        / dx.shape[1]
        + down / dy.shape[1],
        "this includes only horizontal differences; add the vertical ones": across / count,
        "this includes only vertical differences; add the horizontal ones": down / count,
    }
    require_equal(call(answer, images), squares / count, wrong=wrong)
    return "this is the total variation with exponent 2"


def linear_optimum(answer: object, model: Model, unit: int) -> str:
    """Check the patch of norm 1 that maximizes a first-layer unit: its normalized kernel.

    Args:
        answer: a patch (3, height, width).
        model: the network.
        unit: index of the unit.
    """
    kernel = model.kernels()[unit].cpu()
    weights = kernel * model.std.cpu()
    wrong = {
        "this is the kernel itself; scale it to norm 1": kernel,
        "the network first divides each channel by its standard deviation": weights
        / weights.norm(),
    }
    require_equal(answer, kernel / kernel.norm(), "the patch", wrong=wrong)
    return (
        f"no other patch of norm 1 gives a higher activation: {float(kernel.norm()):.2f} above gray"
    )


@torch.no_grad()
def activating_image(answer: object, model: Model, target: str, real: Tensor) -> str:
    """Check an image in [0, 1] whose activation of a unit exceeds that of all real images.

    Args:
        answer: an image of the network's input size.
        model: the network.
        target: "layer:unit".
        real: images (n, 3, h, w).
    """
    image = as_image(answer, model.card.input_size).to(real)
    layer, unit = objectives.parse_target(target)
    maps = hooks.activations(model, torch.cat([image, real]), [layer])[layer][:, unit]
    activations = maps.reshape(len(maps), -1).amax(1)
    reached, best = float(activations[0]), float(activations[1:].max())
    if float(norms(real - image).min()) < 1e-3:
        raise NotSolved("this is one of the real images")
    if reached <= best:
        raise NotSolved(
            f"the activation of {target} is {reached:.1f}, and {best:.1f} for a real image; "
            "continue the ascent"
        )
    return f"the activation of {target} is {reached:.1f}; the best real image reaches {best:.1f}"


CHECKS = {
    "AM-1": unit_field,
    "AM-2": decay_step,
    "AM-3": total_variation,
    "AM-4": linear_optimum,
    "AM-5": activating_image,
}
