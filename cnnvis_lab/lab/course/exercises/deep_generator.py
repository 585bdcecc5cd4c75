"""Checks of notebook 02: bounds of codes, a step in them, the chain rule, an ascent."""

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


def code_bounds(answer: object) -> str:
    """Take a function codes (n, units) -> (low, high): 0, and mean + 3 deviations of each unit."""
    codes = (noise(40, 7) * torch.arange(1, 8) + 1).relu()
    found = call(answer, codes)
    if isinstance(found, deep_generator.CodeBounds):
        found = found.low, found.high
    if not isinstance(found, tuple | list | Tensor) or len(found) != 2:
        raise NotSolved("hand back two things, the lower bounds and the upper ones")
    mean, spread = codes.mean(0), codes.std(0)
    overall = codes.mean() + 3 * codes.std()
    wrong = {
        "that is one bound for all units; each unit has its own": overall,
        "that is one bound for each code; go over the pictures, axis 0": codes.mean(1)
        + 3 * codes.std(1),
        "that is mean + 2 deviations; the authors take 3": mean + 2 * spread,
        "that takes the variance for the deviation": mean + 3 * spread**2,
        "that is the largest value seen; asked for is mean + 3 deviations": codes.amax(0),
    }
    if not _matches_any(found[1], mean + 3 * spread, mean + 3 * codes.std(0, unbiased=False)):
        require_equal(found[1], mean + 3 * spread, "the upper bound", wrong=wrong)
    lower = as_tensor(found[0], "the lower bound")
    if float(lower.abs().max()) > 1e-6:
        raise NotSolved("the upper bound is right; the lower one of rectified codes is 0")
    return "0 and mean + 3 deviations, unit by unit"


def _matches_any(found: object, *truths: Tensor) -> bool:
    """Whether numbers agree with one of several; deviations may divide by n or by n - 1."""
    for truth in truths:
        try:
            require_equal(found, truth)
        except NotSolved:
            continue
        return True
    return False


def normalized_step(answer: object) -> str:
    """Take a function (code, gradient, size) -> code: along the gradient over its mean size."""
    code, gradient, size = noise(3, 9), noise(3, 9, seed=1) * torch.tensor([[1.0], [5], [0.1]]), 0.7

    def moved(by: Tensor) -> Tensor:
        return code + size * gradient / by

    wrong = {
        "that goes down; add the step": code
        - size * gradient / expand_like(gradient.abs().mean(1), code),
        "that is one size for the whole batch; each code has its own": moved(gradient.abs().mean()),
        "that divides by the gradient's norm; divide by the mean of its absolute values": moved(
            expand_like(norms(gradient), code)
        ),
        "that divides by the mean; values of both signs cancel: take absolute ones": moved(
            expand_like(gradient.mean(1), code)
        ),
        "that is the plain gradient; divide it by the mean of its absolute values": moved(
            torch.ones(())
        ),
        "that is the step; add it to the code": moved(expand_like(gradient.abs().mean(1), code))
        - code,
    }
    truth = moved(expand_like(gradient.abs().mean(1), code))
    require_equal(call(answer, code, gradient, size), truth, wrong=wrong)
    return "every number of a code moves by `size` in the mean, whatever the gradient's size"


def _class_score(
    model: Model, drawer: generators.Generator, code: Tensor, unit: int
) -> tuple[Tensor, Tensor]:
    drawn = deep_generator.fit_to_input(model, drawer(code))
    return model(drawn).flatten(1)[:, unit].sum(), drawn


def code_gradient(
    answer: object, model: Model, drawer: generators.Generator, code: Tensor, name: str
) -> str:
    """Take the gradient of a class score with respect to the code its picture is drawn of."""
    unit = name_index(model.card.classes, name, "class")
    leaf = code.detach().clone().requires_grad_()
    with torch.enable_grad():
        score, drawn = _class_score(model, drawer, leaf, unit)
        truth, of_picture = torch.autograd.grad(score, [leaf, drawn])
    wrong = {"that is the picture's gradient; carry it on through the generator": of_picture}
    require_equal(answer, truth, "the gradient", wrong=wrong)
    return f"the way to a higher score of {name}, through both networks"


@torch.no_grad()
def class_code(
    answer: object,
    model: Model,
    drawer: generators.Generator,
    limits: deep_generator.CodeBounds,
    name: str,
    least: float = 0.9,
) -> str:
    """Take any code within the bounds whose picture is of the class with a probability of 0.9."""
    unit, code = (
        name_index(model.card.classes, name, "class"),
        as_tensor(answer, "the code").float(),
    )
    if code.numel() != limits.high.numel():
        given, wanted = tuple(code.shape), (1, *limits.high.shape)
        raise NotSolved(f"the code has shape {given}; expected {wanted}")
    code = code.view(1, *limits.high.shape)
    slack = 1e-3 * limits.high.abs().max()
    outside = (code > limits.high + slack) | (code < limits.low - slack)
    if outside.any():
        raise NotSolved(f"{int(outside.sum())} numbers of the code are out of bounds; clamp it")
    drawn = deep_generator.fit_to_input(model, drawer.draw(code.to(model.device)))
    sure = float(model(drawn).flatten().softmax(0)[unit])
    if sure < least:
        raise NotSolved(f"the network gives {name} {sure:.2f}; get to {least} (more steps?)")
    return f"the network gives {name} {sure:.2f}"


CHECKS = {"DG-1": code_bounds, "DG-2": normalized_step, "DG-3": code_gradient, "DG-4": class_code}
