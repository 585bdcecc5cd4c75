"""Inversion recipes by name: those of the literature with their constants, and this project's.

Each minimizes C * ||f(x) - f0||^2 / ||f0||^2 + regularizer(x). Constants that the papers state for
mean-subtracted pixels in 0..255 are converted to [0, 1]: a learning rate for 0..255 is divided by
255^2, because both the gradient and the step change with the range.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from ...core import hooks, optimization
from ...core.backward import relu_rules
from ...core.optimization import Phase, objectives, optimizers

BYTE = 255.0
# From deep-goggle, x0_sigma.mat: norm of a mean-subtracted image of 227x227x3; here per value.
IMAGE_VARIANCE = 27098.1157**2 / (227 * 227 * 3) / BYTE**2
# The authors' step sizes are tuned to their networks. To prevent divergence where the gradient of
# another network is steep, one step changes an image by at most this fraction of its standard
# deviation. With the large C of 2016, the gradient is steep everywhere: with a limit ten times as
# large, images of deep layers reach their bounds after a few steps and never leave them.
STEP_LIMIT, STEP_LIMIT_2016 = 0.1, 0.003
# At the stated 0.05 the total variation of 2016 amplifies the finest checkerboard: its step is
# 0.05 / 6 * 2 * 6.5^2 * 8 = 5.6, and momentum 0.9 is stable up to 2 * (1 + 0.9).
LEARNING_RATE_2016 = 0.02


@dataclass(frozen=True)
class Recipe(optimization.Recipe):
    """A recipe for inverting codes.

    Attributes:
        regularizer: function from the depth of the layer (`relative_depth`) to the regularizer,
            which is added to the feature error.
        data: weight C of the feature error.
        loss: "l2", "l1" or "inner", see `objectives.match`.
        jitter: maximum shift of the images in each phase, as a fraction of the layer's stride but
            at least one pixel; 0, or no entry, for no shift.
    """

    regularizer: Callable[[float], objectives.Objective] | None = None
    data: float = 1.0
    loss: str = "l2"
    jitter: tuple[float, ...] = ()


def relative_depth(model: nn.Module, layer: str) -> float:
    """Return the fraction of a network's layers with weights that come before a layer.

    Only convolutions and fully connected layers count, and the layer itself does not: the result is
    0 for the first convolution and its ReLU.
    """
    name = hooks.resolve(model, layer)
    modules = list(model.named_modules())
    last = max(n for n, (other, _) in enumerate(modules) if f"{other}.".startswith(f"{name}."))
    weighted = [isinstance(module, nn.Conv2d | nn.Linear) for _, module in modules]
    return max(sum(weighted[: last + 1]) - 1, 0) / max(sum(weighted), 1)


def _variation_weight(depth: float) -> float:
    """Return the authors' lambda: 1 for CaffeNet's first 6 of 20 blocks, 10 for 6 more, then 100.

    The first range ends in the block of the second convolution, the second one before the fifth.
    """
    return 1.0 if depth < 2 / 8 else 10.0 if depth < 4 / 8 else 100.0


def _momentum_optimizer(rate: float, step_limit: float) -> optimizers.UpdateRule:
    """Return SGD with momentum 0.9, reset between phases, for scores that are sums over pixels."""
    rule = optimizers.clipped(optimizers.sgd(rate, momentum=0.9), step_limit / rate)
    return optimizers.per_pixel(rule)


def mahendran2015(variation: float | None = None, beta: float = 2.0) -> Recipe:
    """Return the recipe of 2015: alpha-norm and total variation, momentum reset in each phase.

    Args:
        variation: weight of the total variation; None for the authors' 1, 10 or 100 by depth.
        beta: exponent of the total variation.

    Source: Mahendran and Vedaldi 2015; deep-goggle, invert_nn.m and experiment_cnn.m.
    """
    norms = 8e-10 / 2 * BYTE**6 / (BYTE**2 * IMAGE_VARIANCE) * objectives.alpha_norm(6.0)
    unit = BYTE**beta / 2 / (BYTE**2 * IMAGE_VARIANCE)

    def regularizer(depth: float) -> objectives.Objective:
        weight = _variation_weight(depth) if variation is None else variation
        return norms + weight * unit * objectives.total_variation(beta)

    def phase(steps: int, factor: float) -> Phase:
        # The step is lr * sigma^2 * gradient, where sigma^2 is a sum over the image's 3 h w values.
        rate = factor * 0.004 * 3 * IMAGE_VARIANCE
        return Phase(steps, _momentum_optimizer(rate, STEP_LIMIT * IMAGE_VARIANCE**0.5))

    return Recipe(
        "pixels",
        (phase(100, 1.0), phase(200, 0.1), phase(100, 0.01)),
        "Mahendran and Vedaldi 2015: alpha 6, 400 steps at 0.004 times 1, 0.1, 0.01",
        regularizer=regularizer,
        start_std=IMAGE_VARIANCE**0.5,
        bounded=False,
    )


def mahendran2016(data: float = 100.0) -> Recipe:
    """Return the recipe of 2016: alpha-norm, total variation and jitter.

    Args:
        data: weight C of the feature error: 1, 20, 100 or 300 in the paper. Above 3 the learning
            rate is divided by C / 3, so that steps do not overshoot.

    Source: Mahendran and Vedaldi 2016, with x pixels minus gray in 0..255 and sigma 80; learning
        rates are smaller here, see `LEARNING_RATE_2016`.
    """
    sigma, alpha = 80 / BYTE, 6
    norms = 3 * objectives.alpha_norm(alpha) / sigma**alpha
    prior = norms + 3 * objectives.total_variation(2.0) * (6.5 / sigma) ** 2
    rate = LEARNING_RATE_2016 * sigma**2 / alpha / max(1.0, data / 3)
    limit = STEP_LIMIT_2016 * sigma
    return Recipe(
        "pixels",
        (
            Phase(300, _momentum_optimizer(rate, limit)),
            Phase(50, _momentum_optimizer(0.1 * rate, limit)),
        ),
        "Mahendran and Vedaldi 2016: alpha 6, sigma 80, beta 2, C of 1 to 300",
        regularizer=lambda depth: prior,
        data=data,
        start_std=20 / BYTE,
        jitter=(0.25,),
    )


def _decaying_phase(steps: int, leak: float, leaky_fraction: float) -> Phase:
    return Phase(
        steps,
        optimizers.normalized_momentum(lambda step: 8 * 0.04 ** (step / steps)),
        relu_rule=relu_rules.leaky(leak) if leak else "gradient",
        relu_rule_steps=round(leaky_fraction * steps),
        for_steps=lambda steps: _decaying_phase(steps, leak, leaky_fraction),
    )


def spectral(
    steps: int = 200,
    *,
    variation: float = 2.0,
    variation_deeper: float = 40.0,
    gray: float = 0.005,
    gray_deeper: float = 1.0,
    leak: float = 0.1,
    leaky_fraction: float = 0.3,
) -> Recipe:
    """Return this project's recipe: normalized steps in Fourier space, leaky ReLUs at first.

    The regularizer grows with depth, because deep features hardly constrain single pixels, and
    constrain the brightness even less, which could drift.

    Args:
        steps: number of steps.
        variation: weight of the mean squared difference between neighboring pixels.
        variation_deeper: this weight times the depth (see `relative_depth`) is added.
        gray: weight of the mean squared distance from gray.
        gray_deeper: this weight times the third power of the depth is added.
        leak: slope of the leaky backward rule of ReLUs in the first steps, so that inactive units
            receive a gradient.
        leaky_fraction: fraction of the steps, from the first, with that rule.
    """

    def regularizer(depth: float) -> objectives.Objective:
        smooth = variation + variation_deeper * depth
        level = gray + gray_deeper * depth**3
        return smooth * objectives.total_variation(2.0) + level * objectives.l2()

    return Recipe(
        "fourier",
        (_decaying_phase(steps, leak, leaky_fraction),),
        "this project: chosen by measurement; a stronger start than 0.01 comes nearer",
        regularizer=regularizer,
        start_std=0.1,
    )


RECIPES: dict[str, Recipe] = {
    "default": spectral(),
    "mahendran2015": mahendran2015(),
    "mahendran2016": mahendran2016(),
    "none": Recipe(
        "pixels",
        (Phase(200, optimizers.adam(0.02)),),
        "this project: no prior at all, for comparison",
        start_std=0.02,
    ),
}
DATA_WEIGHTS = (1, 20, 100, 300)  # the values of C in Mahendran and Vedaldi 2016
COMPARED_RECIPES: dict[str, Recipe] = {
    "2015": RECIPES["mahendran2015"],
    "no prior": RECIPES["none"],
    **{f"2016, C = {weight}": mahendran2016(float(weight)) for weight in DATA_WEIGHTS},
}


def variation_recipes(weights: Sequence[float]) -> dict[str, Recipe]:
    """Return the recipe of 2015 by name, with weights of the total variation, and with beta = 1.

    The weight with beta = 1 is 1000, which gives about the same smoothness as 100 with beta = 2.

    Source: Mahendran and Vedaldi 2015, figures 2 and 8.
    """
    recipes = {f"weight {weight:g}": mahendran2015(weight) for weight in weights}
    return {**recipes, "beta 1": mahendran2015(1000.0, beta=1.0)}
