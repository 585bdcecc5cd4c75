"""Checks of notebook 02: code bounds, a normalized step, the chain rule, ascent in code space."""

import torch
from torch import Tensor

from ....methods import deep_generator
from ....models import Model, generators
from ..marking import (
    NotSolved,
    as_tensor,
    call,
    expand_like,
    name_index,
    noise,
    norms,
    require_equal,
)

MIN_PROBABILITY = 0.9  # of the class of a code's image


def code_bounds(answer: object) -> str:
    """Check a function codes (n, units) -> (low, high): 0, and mean + 3 std of each unit."""
    codes = (noise(40, 7) * torch.arange(1, 8) + 1).relu()
    bounds = call(answer, codes)
    if isinstance(bounds, deep_generator.CodeBounds):
        bounds = bounds.low, bounds.high
    if not isinstance(bounds, tuple | list | Tensor) or len(bounds) != 2:
        raise NotSolved("return two things: the lower and the upper bounds")
    low, high = bounds
    mean, std = codes.mean(0), codes.std(0)
    wrong = {
        "this is one bound for all units; each unit has its own": codes.mean() + 3 * codes.std(),
        "this is one bound per code; average over the images, dimension 0": codes.mean(1)
        + 3 * codes.std(1),
        "this is mean + 2 standard deviations; the authors use 3": mean + 2 * std,
        "this uses the variance instead of the standard deviation": mean + 3 * std**2,
        "this is the largest value; use mean + 3 standard deviations": codes.amax(0),
    }
    if not _matches_any(high, mean + 3 * std, mean + 3 * codes.std(0, unbiased=False)):
        require_equal(high, mean + 3 * std, "the upper bound", wrong=wrong)
    if float(as_tensor(low, "the lower bound").abs().max()) > 1e-6:
        raise NotSolved("the upper bound is correct; the lower bound of rectified codes is 0")
    return "0 and mean + 3 standard deviations, for each unit"


def _matches_any(answer: object, *truths: Tensor) -> bool:
    """Whether an answer equals one of several; a variance may divide by n or by n - 1."""
    for truth in truths:
        try:
            require_equal(answer, truth)
        except NotSolved:
            continue
        return True
    return False


def normalized_step(answer: object) -> str:
    """Check a function (code, gradient, size) -> code: a step of mean size `size`."""
    code, gradient, size = noise(3, 9), noise(3, 9, seed=1) * torch.tensor([[1.0], [5], [0.1]]), 0.7
    means, magnitudes = (expand_like(g.mean(1), code) for g in (gradient, gradient.abs()))

    def moved(divisor: Tensor | float) -> Tensor:
        return code + size * gradient / divisor

    truth = moved(magnitudes)
    wrong = {
        "this step descends; add it": moved(-magnitudes),
        "this is one step size for the whole batch; each code has its own": moved(
            gradient.abs().mean()
        ),
        "this divides by the gradient's norm; divide by the mean of its absolute values": moved(
            expand_like(norms(gradient), code)
        ),
        "this divides by the mean, in which signs cancel; use absolute values": moved(means),
        "this is the plain gradient; divide it by the mean of its absolute values": moved(1.0),
        "this is the step; add it to the code": truth - code,
    }
    require_equal(call(answer, code, gradient, size), truth, wrong=wrong)
    return "the elements of a code change by `size` on average, whatever the gradient's magnitude"


def code_gradient(
    answer: object, model: Model, generator: generators.Generator, code: Tensor, name: str
) -> str:
    """Check the gradient of a class score with respect to the generator's code.

    Args:
        answer: numbers of the code's shape.
        model: the network that scores the class.
        generator: generates the image.
        code: (1, *code).
        name: name of the class.
    """
    unit = name_index(model.card.classes, name, "class")
    leaf = code.detach().clone().requires_grad_()
    with torch.enable_grad():
        image = deep_generator.fit_to_input(model, generator(leaf))
        score = model(image).flatten(1)[:, unit].sum()
        truth, image_gradient = torch.autograd.grad(score, [leaf, image])
    hint = "this is the image's gradient; continue backward through the generator"
    require_equal(answer, truth, "the gradient", wrong={hint: image_gradient})
    return f"the direction that increases the score of {name}, through both networks"


@torch.no_grad()
def class_code(
    answer: object,
    model: Model,
    generator: generators.Generator,
    bounds: deep_generator.CodeBounds,
    name: str,
) -> str:
    """Check a code within the bounds whose image the network assigns to a class.

    Args:
        answer: numbers of the code's shape.
        model: the network that classifies.
        generator: generates the image.
        bounds: of the code.
        name: name of the class.
    """
    unit = name_index(model.card.classes, name, "class")
    code = as_tensor(answer, "the code").float()
    expected = (1, *bounds.high.shape)
    if code.numel() != bounds.high.numel():
        raise NotSolved(f"the code has shape {tuple(code.shape)}; expected {expected}")
    code = code.view(expected)
    tolerance = 1e-3 * bounds.high.abs().max()
    outside = (code > bounds.high + tolerance) | (code < bounds.low - tolerance)
    if outside.any():
        raise NotSolved(f"{int(outside.sum())} elements of the code are out of bounds; clamp it")
    image = deep_generator.fit_to_input(model, generator.draw(code.to(model.device)))
    probability = float(model(image).flatten().softmax(0)[unit])
    if probability < MIN_PROBABILITY:
        raise NotSolved(
            f"the network gives {name} a probability of {probability:.2f}; reach "
            f"{MIN_PROBABILITY} (more steps?)"
        )
    return f"the network gives {name} a probability of {probability:.2f}"


CHECKS = {
    "DG-1": code_bounds,
    "DG-2": normalized_step,
    "DG-3": code_gradient,
    "DG-4": class_code,
}
