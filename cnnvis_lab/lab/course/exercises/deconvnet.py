"""Checks of notebook 03: ReLU rules, unpooling, transposed convolution, projection by autograd."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input

from ....core import hooks
from ....core.backward import adjoint
from ....core.optimization import objectives
from ....methods import deconvnet
from ....models import Model
from ..marking import NotSolved, call, noise, require_equal

# Written out once more, independently of the library's rules.
RELU_RULES = {
    "gradient": lambda signal, x: signal * (x > 0),
    "deconvnet": lambda signal, x: signal.clamp(min=0),
    "guided": lambda signal, x: signal.clamp(min=0) * (x > 0),
}


def check_relu_rules(answer: object) -> str:
    """Check a function (signal, x) -> signal for each of the three rules."""
    if not isinstance(answer, Mapping) or set(answer) != set(RELU_RULES):
        raise NotSolved(f"hand in a dictionary of functions with the keys {', '.join(RELU_RULES)}")
    missing = [name for name in RELU_RULES if answer[name] is None]
    if missing:
        raise NotSolved(f"no function yet for {', '.join(missing)}")
    x, signal = noise(60), noise(60, seed=1)
    x[:6] = 0.0
    for name, rule in RELU_RULES.items():
        result = call(answer[name], signal, x, words=f"the function for {name}")
        wrong = {
            f"{name}: that is the rule of {other}": RELU_RULES[other](signal, x)
            for other in RELU_RULES
            if other != name
        }
        wrong[f"{name}: that passes signals where x < 0"] = signal * (x < 0)
        wrong[f"{name}: that also passes signals where x = 0"] = signal * (x >= 0)
        wrong[f"{name}: that returns the activation; return the signal"] = x.clamp(min=0)
        require_equal(result, rule(signal, x), f"the result of {name}", wrong=wrong)
    return "three rules; guided is the other two combined"


def check_unpooling(answer: object) -> str:
    """Check a function (pooled, switches, size) -> maps, also for windows that share a switch."""
    for kernel, stride in ((2, 2), (3, 2)):
        maps = noise(2, 3, 9, 9)
        values, switches = functional.max_pool2d(maps, kernel, stride, return_indices=True)
        signal = noise(*values.shape, seed=1)
        truth = adjoint.unpool(signal, switches, (9, 9))
        result = call(answer, signal, switches, (9, 9))
        overwritten = maps.new_zeros(2, 3, 81)
        overwritten.scatter_(2, switches.flatten(2), signal.flatten(2))
        wrong = {
            "if windows overlap and share a switch, their values must be added": overwritten.view(
                truth.shape
            ),
            "that spreads values over windows; put each at its switch": functional.interpolate(
                signal, size=(9, 9)
            ),
        }
        what = f"with windows of {kernel} at a stride of {stride}, the result"
        require_equal(result, truth, what, wrong=wrong)
    return "each value at its switch, sums where windows overlap"


def check_transposed_convolution(answer: object) -> str:
    """Check a function (signal, weight, stride, padding, size) -> (n, c, *size): the transpose."""
    for stride, padding, size in ((1, 0, 9), (2, 1, 9), (2, 2, 10)):
        x, weight = noise(2, 3, size, size), noise(4, 3, 3, 3, seed=1)
        signal = noise(*functional.conv2d(x, weight, None, stride, padding).shape, seed=2)
        truth = conv2d_input(x.shape, weight, signal, stride, padding)
        flipped = conv2d_input(x.shape, weight.flip(-1, -2), signal, stride, padding)
        wrong = {"the kernels are flipped once too often": flipped}
        what = f"with a stride of {stride} and a padding of {padding}, the result"
        result = call(answer, signal, weight, stride, padding, (size, size))
        require_equal(result, truth, what, wrong=wrong)
    return "the backward pass of a filter is its transpose, for any stride and padding"


def check_projection(answer: object, model: Model, image: Tensor, target: str) -> str:
    """Check the projection of a unit's highest activation by the rule `gradient`.

    Args:
        answer: the projection.
        model: the network.
        image: (1, 3, h, w) in [0, 1].
        target: "layer:unit".
    """
    result = deconvnet.project(model, image, target, rule="gradient")
    truth, activation = result.pixels[0, 0], float(result.activations[0, 0])
    layer, unit = objectives.parse_target(target)
    leaf = image.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = hooks.activations(model, leaf, [layer])[layer][0, unit].sum()
        gradient_of_sum = torch.autograd.grad(total, leaf)[0][0]
    wrong = {
        "that is the activation's gradient; project the activation, not 1": truth
        / max(activation, 1e-9),
        "that is the gradient of all activations of the map; keep the highest": gradient_of_sum,
    }
    for rule in ("guided", "deconvnet"):
        other = deconvnet.project(model, image, target, rule=rule)
        wrong[f"that is the projection by {rule}"] = other.pixels[0, 0]
    require_equal(answer, truth, "the projection", wrong=wrong)
    return f"activation {activation:.2f} times its gradient: DeconvNet with another ReLU rule"


CHECKS = {
    "DN-1": check_relu_rules,
    "DN-2": check_unpooling,
    "DN-3": check_transposed_convolution,
    "DN-4": check_projection,
}
