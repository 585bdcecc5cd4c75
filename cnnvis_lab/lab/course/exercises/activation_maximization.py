"""Checks of notebook 01: receptive fields, regularisers, the optimum of a linear unit, ascent."""

import torch
from torch import Tensor

from ....core import hooks, receptive_field
from ....core.optimization import objectives
from ....models import Model
from ..marking import NotSolved, as_image, as_numbers, call, noise, norms, require_equal


def unit_field(answer: object, model: Model, layer: str) -> str:
    """Take (side, stride) of what one position of a layer sees, in pixels."""
    field = receptive_field.receptive_fields(model, [layer], model.card.input_size)[layer]
    side, stride = as_numbers(answer, 2, "(side, stride)")
    if (side, stride) == (field.stride[0], field.size[0]):
        raise NotSolved("these are the right numbers the wrong way round: first the side")
    if stride != field.stride[0]:
        way = "small" if stride < field.stride[0] else "large"
        raise NotSolved(
            f"the stride is too {way}; multiply the strides of all layers, poolings too"
        )
    if side != field.size[0]:
        way = "small" if side < field.size[0] else "large"
        hint = "each layer adds (kernel - 1) times the product of the strides before it"
        raise NotSolved(f"the stride is right, the side too {way}; {hint}")
    return f"a unit of {layer} sees {side:.0f}x{side:.0f} pixels, its neighbour {stride:.0f} on"


def decay_step(answer: object) -> str:
    """Take a function (x, gradient, rate, decay) -> x: a step up, then a decay towards gray."""
    x, gradient, rate, decay = noise(2, 3, 5, 5) + 0.5, noise(2, 3, 5, 5, seed=1), 0.3, 0.1

    def towards(center: float, moved: Tensor, kept: float) -> Tensor:
        return center + (moved - center) * kept

    up = x + rate * gradient
    wrong = {
        "that goes down; to excite the unit more, add the gradient": towards(
            0.5, x - rate * gradient, 1 - decay
        ),
        "that draws pixels towards black; no signal is gray, 0.5": towards(0.0, up, 1 - decay),
        "that keeps the share `decay` of the distance; take it away": towards(0.5, up, decay),
        "that decays before the step; the decay comes after it": towards(0.5, x, 1 - decay)
        + rate * gradient,
        "that is the step; the decay is missing": up,
    }
    require_equal(call(answer, x, gradient, rate, decay), towards(0.5, up, 1 - decay), wrong=wrong)
    return "a step along the gradient, then a decay towards gray"


def total_variation(answer: object) -> str:
    """Take a function (n, c, h, w) -> (n,): mean of dx^2 + dy^2 over all values."""
    images = noise(3, 2, 6, 9)
    dx, dy = images.diff(dim=3), images.diff(dim=2)
    squares = dx.square().flatten(1).sum(1) + dy.square().flatten(1).sum(1)
    one = images[0].numel()
    sides = dx.abs().flatten(1).sum(1) + dy.abs().flatten(1).sum(1)
    means = dx.square().flatten(1).mean(1) + dy.square().flatten(1).mean(1)
    wrong = {
        "that is the sum; divide by the number of values of a picture": squares,
        "that is one number for the whole batch; give one for each picture": squares.mean() / one,
        "that takes absolute differences; square them": sides / one,
        "that divides by the number of differences; divide by that of all values": means,
        "that is only the differences across; add those down": dx.square().flatten(1).sum(1) / one,
        "that is only the differences down; add those across": dy.square().flatten(1).sum(1) / one,
    }
    require_equal(call(answer, images), squares / one, wrong=wrong)
    return "that is the total variation with an exponent of 2"


def linear_optimum(answer: object, model: Model, unit: int) -> str:
    """Take the patch of length 1 that excites a first-layer unit most: its kernel's direction."""
    kernel = model.kernels()[unit].cpu()
    plain = model.net.get_submodule(model.first_conv()).weight[unit].cpu()
    wrong = {
        "that is the kernel itself; bring it to length 1": kernel,
        "the network divides pictures by a deviation in each channel first": plain / plain.norm(),
    }
    require_equal(answer, kernel / kernel.norm(), "the patch", wrong=wrong)
    return f"no patch of length 1 excites it more; it answers {float(kernel.norm()):.2f} above gray"


@torch.no_grad()
def activating_image(answer: object, model: Model, target: str, real: Tensor) -> str:
    """Take any picture in [0, 1] that excites a unit more than all the real ones do."""
    shown = as_image(answer, model.card.input_size).to(real)
    layer, unit = objectives.parse_target(target)
    maps = hooks.activations(model, torch.cat([shown, real]), [layer])[layer][:, unit]
    reached = maps.reshape(len(maps), -1).amax(1)
    own, best = float(reached[0]), float(reached[1:].max())
    if float(norms(real - shown).min()) < 1e-3:
        raise NotSolved("that is one of the real pictures")
    if own <= best:
        raise NotSolved(f"{target} answers {own:.1f} to it, and {best:.1f} to a real one; climb on")
    return f"{target} answers {own:.1f} to it, to the strongest real picture {best:.1f}"


CHECKS = {
    "AM-1": unit_field,
    "AM-2": decay_step,
    "AM-3": total_variation,
    "AM-4": linear_optimum,
    "AM-5": activating_image,
}
