"""Checks of notebook 03: ReLU rules, unpooling, transposed filters, a projection by autograd."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ...core import hooks
from ...core.adjoint import unpooled
from ...core.objectives import parse_target
from ...methods import deconvnet
from ...models import Model
from .marking import NotYet, call, noise, same

RULES = {
    "gradient": lambda signal, x: signal * (x > 0),
    "deconvnet": lambda signal, x: signal.clamp(min=0),
    "guided": lambda signal, x: signal.clamp(min=0) * (x > 0),
}


def relu_rules(answer: object) -> str:
    """Take a function (signal, x) -> signal for each of the three rules."""
    if not isinstance(answer, Mapping) or set(answer) != set(RULES):
        raise NotYet(f"hand in a dictionary of functions with the keys {', '.join(RULES)}")
    missing = [name for name in RULES if answer[name] is None]
    if missing:
        raise NotYet(f"no function yet for {', '.join(missing)}")
    x, signal = noise(60), noise(60, seed=1)
    x[:6] = 0.0
    for name, rule in RULES.items():
        found = call(answer[name], signal, x, words=f"the function for {name}")
        wrong = {
            f"{name}: that is the rule of {other}": RULES[other](signal, x)
            for other in RULES
            if other != name
        }
        wrong[f"{name}: that lets signals through where x < 0"] = signal * (x < 0)
        wrong[f"{name}: that also lets signals through where x = 0"] = signal * (x >= 0)
        wrong[f"{name}: that gives the activation on; the signal goes back"] = x.clamp(min=0)
        same(found, rule(signal, x), f"what {name} returns", wrong=wrong)
    return "three rules; guided is the other two together"


def unpooling(answer: object) -> str:
    """Take a function (pooled, switches, size) -> maps; what shares a switch adds up."""
    for kernel, stride in ((2, 2), (3, 2)):
        maps = noise(2, 3, 9, 9)
        values, switches = functional.max_pool2d(maps, kernel, stride, return_indices=True)
        signal = noise(*values.shape, seed=1)
        truth = unpooled(signal, switches, (9, 9))
        found = call(answer, signal, switches, (9, 9))
        overwritten = maps.new_zeros(2, 3, 81)
        overwritten.scatter_(2, switches.flatten(2), signal.flatten(2))
        wrong = {
            "where windows overlap and share a switch, values must add up": overwritten,
            "that spreads values over windows; each belongs at its switch": functional.interpolate(
                signal, size=(9, 9)
            ),
        }
        shape = f"with windows of {kernel} at a stride of {stride}, what it returns"
        same(found, truth, shape, wrong={k: v.reshape(truth.shape) for k, v in wrong.items()})
    return "each value at its switch, sums where windows overlap"


def transposed(answer: object) -> str:
    """Take a function (signal, weight, stride, padding, size) -> (n, c, *size): the transpose.

    Checked without any formula of it: <filtered x, signal> = <x, what comes back> for any x.
    """
    for stride, padding, size in ((1, 0, 9), (2, 1, 9), (2, 2, 10)):
        x, weight = noise(2, 3, size, size), noise(4, 3, 3, 3, seed=1)
        filtered = functional.conv2d(x, weight, None, stride, padding)
        signal = noise(*filtered.shape, seed=2)
        truth = torch.nn.grad.conv2d_input(x.shape, weight, signal, stride, padding)
        turned = torch.nn.grad.conv2d_input(x.shape, weight.flip(-1, -2), signal, stride, padding)
        wrong = {"the kernels are turned by half a turn too often": turned}
        what = f"with a stride of {stride} and a padding of {padding}, what it returns"
        same(call(answer, signal, weight, stride, padding, (size, size)), truth, what, wrong=wrong)
    return "a filter's way back is its transpose, whatever stride and padding"


def projection(answer: object, model: Model, picture: Tensor, target: str) -> str:
    """Take the projection of a unit's strongest activation by the rule `gradient`."""
    shown = deconvnet.project(model, picture, target, rule="gradient")
    truth, value = shown.pictures[0, 0], float(shown.activations[0, 0])
    layer, unit = parse_target(target)
    leaf = picture.detach().clone().requires_grad_()
    with torch.enable_grad():
        score = hooks.activations(model, leaf, [layer])[layer][0, unit].sum()
        summed = torch.autograd.grad(score, leaf)[0][0]
    wrong = {
        "that is the activation's gradient; what is projected is the activation, not 1": truth
        / max(value, 1e-9),
        "that is the gradient of all the map's activations; keep the strongest alone": summed,
        "that is the projection by guided": deconvnet.project(
            model, picture, target, rule="guided"
        ).pictures[0, 0],
        "that is the projection by deconvnet": deconvnet.project(model, picture, target).pictures[
            0, 0
        ],
    }
    same(answer, truth, "the projection", wrong=wrong)
    return f"activation {value:.2f} times its gradient: DeconvNet with another rule at the ReLU"


CHECKS = {"DN-1": relu_rules, "DN-2": unpooling, "DN-3": transposed, "DN-4": projection}
