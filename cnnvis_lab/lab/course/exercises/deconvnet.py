"""Checks of notebook 03: ReLU rules, unpooling, transposed filters, a projection by autograd."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from ....core import hooks
from ....core.backward import adjoint
from ....core.optimization import objectives
from ....methods import deconvnet
from ....models import Model
from ..marking import NotSolved, call, noise, require_equal

RELU_RULES = {
    "gradient": lambda signal, x: signal * (x > 0),
    "deconvnet": lambda signal, x: signal.clamp(min=0),
    "guided": lambda signal, x: signal.clamp(min=0) * (x > 0),
}


def check_relu_rules(answer: object) -> str:
    """Take a function (signal, x) -> signal for each of the three rules."""
    if not isinstance(answer, Mapping) or set(answer) != set(RELU_RULES):
        raise NotSolved(f"hand in a dictionary of functions with the keys {', '.join(RELU_RULES)}")
    missing = [name for name in RELU_RULES if answer[name] is None]
    if missing:
        raise NotSolved(f"no function yet for {', '.join(missing)}")
    x, signal = noise(60), noise(60, seed=1)
    x[:6] = 0.0
    for name, rule in RELU_RULES.items():
        found = call(answer[name], signal, x, words=f"the function for {name}")
        wrong = {
            f"{name}: that is the rule of {other}": RELU_RULES[other](signal, x)
            for other in RELU_RULES
            if other != name
        }
        wrong[f"{name}: that lets signals through where x < 0"] = signal * (x < 0)
        wrong[f"{name}: that also lets signals through where x = 0"] = signal * (x >= 0)
        wrong[f"{name}: that gives the activation on; the signal goes back"] = x.clamp(min=0)
        require_equal(found, rule(signal, x), f"what {name} returns", wrong=wrong)
    return "three rules; guided is the other two together"


def check_unpooling(answer: object) -> str:
    """Take a function (pooled, switches, size) -> maps; what shares a switch adds up."""
    for kernel, stride in ((2, 2), (3, 2)):
        maps = noise(2, 3, 9, 9)
        values, switches = functional.max_pool2d(maps, kernel, stride, return_indices=True)
        signal = noise(*values.shape, seed=1)
        truth = adjoint.unpool(signal, switches, (9, 9))
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
        require_equal(
            found, truth, shape, wrong={k: v.reshape(truth.shape) for k, v in wrong.items()}
        )
    return "each value at its switch, sums where windows overlap"


def check_transposed_convolution(answer: object) -> str:
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
        require_equal(
            call(answer, signal, weight, stride, padding, (size, size)), truth, what, wrong=wrong
        )
    return "a filter's way back is its transpose, whatever stride and padding"


def check_projection(answer: object, model: Model, picture: Tensor, target: str) -> str:
    """Take the projection of a unit's strongest activation by the rule `gradient`."""
    shown = deconvnet.project(model, picture, target, rule="gradient")
    truth, value = shown.pictures[0, 0], float(shown.activations[0, 0])
    layer, unit = objectives.parse_target(target)
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
    require_equal(answer, truth, "the projection", wrong=wrong)
    return f"activation {value:.2f} times its gradient: DeconvNet with another rule at the ReLU"


CHECKS = {
    "DN-1": check_relu_rules,
    "DN-2": check_unpooling,
    "DN-3": check_transposed_convolution,
    "DN-4": check_projection,
}
