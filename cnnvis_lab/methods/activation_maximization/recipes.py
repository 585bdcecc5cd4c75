"""How to climb in activation maximization: the recipes of the literature, by name.

Constants stated for pixels on 0..255 are converted to this project's [0, 1]: a rate on the first
scale is 255^2 times as large, because both the gradient and the step change with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from skimage.restoration import denoise_tv_bregman
from torch import Tensor

from ...core import choose, optimization
from ...core.backward import relu_rules
from ...core.optimization import Phase, objectives, optimizers, transforms

BYTE = 255.0


@dataclass(frozen=True)
class Recipe(optimization.Recipe):
    """How units are rendered.

    Attributes:
        regularizer: subtracted from the activation; None for none.
        margin: pixels around the receptive field that the transformations need to move in.
        weight: factor of the activation, from the number of pixels in the receptive field; with
            one, the activation is divided by the unit's largest over a data set.
    """

    regularizer: objectives.Objective | None = None
    margin: int = 8
    weight: Callable[[int], float] | None = None


def get_recipe(recipe: str | Recipe) -> Recipe:
    """Return a recipe by name, or the given one.

    Raises:
        NameNotFound: no recipe of that name.
    """
    return choose("recipe", recipe, RECIPES)


def _yosinski_recipe(
    steps: int,
    rule: optimizers.UpdateRule,
    decay: float = 0.0,
    blur: float = 0.0,
    norm: float = 0.0,
    benefit: float = 0.0,
) -> Recipe:
    """One of the four settings, its operators in the order of gradient_optimizer.py."""
    operators = []
    if decay:
        operators.append(transforms.decay(decay))
    if blur:
        operators.append(transforms.gaussian_blur(blur, every=4))
    if norm:
        operators.append(transforms.clip_small_norm(norm))
    if benefit:
        operators.append(transforms.clip_small_contribution(benefit))
    return Recipe(
        "pixels",
        (Phase(steps, rule, operators=tuple(operators)),),
        "Yosinski et al. 2015, table 1, and optimize_image.py",
        start_std=10 / BYTE,
    )


def total_variation_denoiser(weights: Sequence[float], steps: int) -> transforms.Operator:
    """Denoise by split-Bregman total variation (scikit-image), ever more or less strongly.

    Args:
        weights: first and last denoising weight; larger keeps more, as in scikit-image, where
            the algorithm's fidelity is 1 / weight of the authors' code.
        steps: over which the weight goes from the first to the last.

    Source: Nguyen et al. 2016 (multifaceted): 100 iterations, tolerance 1e-3.
    """
    first, last = weights

    def operator(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        weight = first + (last - first) * min(step / max(steps - 1, 1), 1)
        pictures = images.movedim(1, -1).cpu().numpy()
        smooth = [
            denoise_tv_bregman(picture, weight, max_num_iter=100, eps=1e-3, channel_axis=-1)
            for picture in pictures
        ]
        stacked = torch.stack([torch.from_numpy(picture) for picture in smooth])
        return stacked.movedim(-1, 1).to(images)

    return operator


def _multifaceted_phase(
    steps: int, rates: tuple[float, float], strengths: tuple[float, float], enlarge: float = 1.0
) -> Phase:
    """A stretch with step size and denoising going linearly between two values."""

    def rate(step: int) -> float:
        return (rates[0] + (rates[1] - rates[0]) * min(step / max(steps - 1, 1), 1)) / BYTE

    # The authors state denoising strengths; scikit-image's weight is what is kept.
    keep = tuple(4 / strength for strength in strengths)
    return Phase(
        steps,
        optimizers.normalized_gradient(rate),
        transforms.roll(4),
        (total_variation_denoiser(keep, steps),),
        enlarge=enlarge,
    )


def _mahendran_recipe(leak: float) -> Recipe:
    """Alpha-norm, total variation and jitter; x is pixels less gray on 0..255, sigma 80."""
    sigma, alpha = 80 / BYTE, 6
    # Sums over the three channels, and over pixels by `per_pixel`, of what are means here.
    norms = 3 * objectives.alpha_norm(alpha) / sigma**alpha
    variation = 3 * objectives.total_variation(2.0) * (6.5 / sigma) ** 2

    def phase(steps: int, factor: float, transform: transforms.Transform | None) -> Phase:
        rule = optimizers.per_pixel(optimizers.sgd(factor * 0.05 * sigma**2 / alpha, momentum=0.9))
        return Phase(steps, rule, transform, relu_rule=relu_rules.leaky(leak))

    return Recipe(
        "pixels",
        (phase(300, 1.0, transforms.roll(2)), phase(50, 0.1, None)),
        "Mahendran and Vedaldi 2016: alpha 6, sigma 80, beta 2, 10^4 / field^2 / largest",
        regularizer=norms + variation,
        start_std=20 / BYTE,
        weight=lambda pixels: 1e4 / pixels,
    )


def _adam_phase(steps: int, transform: transforms.Transform, rule: str = "gradient") -> Phase:
    return Phase(steps, optimizers.adam(0.05), transform, relu_rule=rule, relu_rule_steps=16)


# Shift, turn and size vary a little, so that only what survives them is drawn.
DEFAULT_TRANSFORM = transforms.compose(
    transforms.roll(4),
    transforms.rotate(range(-6, 7)),
    transforms.scale((0.94, 0.97, 1.0, 1.03, 1.06)),
)
OLAH_TRANSFORM = transforms.compose(
    transforms.pad(16),
    transforms.roll(16),
    transforms.scale((1, 0.975, 1.025, 0.95, 1.05)),
    transforms.rotate(range(-5, 6)),
    transforms.roll(8),
)
_RATE_SCALE = 1 / BYTE**2
RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "fourier",
        (
            Phase(
                96,
                optimizers.normalized_gradient(lambda step: 0.004 * 0.983**step),
                DEFAULT_TRANSFORM,
                relu_rule="redirected",
                relu_rule_steps=16,
            ),
        ),
        "this project: steps along the Fourier gradient over its mean size, which leave the "
        "frequencies that transformations scramble small; chosen by measurement",
    ),
    "none": Recipe(
        "pixels",
        (Phase(128, optimizers.adam(0.02)),),
        "this project: no prior at all, for comparison",
        start_std=0.02,
    ),
    "erhan": Recipe(
        "pixels",
        (
            Phase(
                100,
                optimizers.project_to_sphere(8.0, 0.1),
                relu_rule="redirected",
                relu_rule_steps=16,
            ),
        ),
        "Erhan et al. 2009: fixed norm; norm and step size are this project's",
        start_std=0.1,
        bounded=False,
    ),
    "simonyan": Recipe(
        "pixels",
        (Phase(96, optimizers.normalized_gradient(lambda step: 0.02 * 0.98**step)),),
        "Simonyan et al. 2013: class score less L2, from a gray image; weight and steps are "
        "this project's, and so is a trace of noise, since gray alone may move no unit",
        regularizer=4000 * objectives.l2(),
    ),
    "yosinski1": _yosinski_recipe(
        500, optimizers.target_increase(2.0, 100 * _RATE_SCALE), blur=0.5, norm=50
    ),
    "yosinski2": _yosinski_recipe(750, optimizers.sgd(100 * _RATE_SCALE), decay=0.3, norm=20),
    "yosinski3": _yosinski_recipe(1000, optimizers.sgd(100 * _RATE_SCALE), decay=1e-4, blur=1.0),
    "yosinski4": _yosinski_recipe(
        1000, optimizers.target_increase(2.0, 1e8 * _RATE_SCALE), blur=0.5, benefit=90
    ),
    "yosinski3_scaled": Recipe(
        "pixels",
        (
            Phase(
                96,
                optimizers.normalized_gradient(0.02),
                operators=(transforms.decay(1e-4), transforms.gaussian_blur(1.0, every=4)),
            ),
        ),
        "Yosinski et al. 2015, set 3, with steps scaled to the gradient's mean size: the rate of "
        "100 suits CaffeNet's gradients only",
        start_std=10 / BYTE,
    ),
    "multifaceted": Recipe(
        "pixels",
        (
            _multifaceted_phase(190, (1, 2), (0.4, 0.4)),
            _multifaceted_phase(150, (1, 1), (0.01, 2), enlarge=1.2),
            _multifaceted_phase(20, (2, 2), (0.1, 2)),
            _multifaceted_phase(10, (2, 2), (0.4, 2)),
        ),
        "Nguyen et al. 2016 (multifaceted), act_max.tvd.mean.py; begins at a facet's mean picture",
        start_std=0.02,
    ),
    "mahendran2016": _mahendran_recipe(0.05),
    "lucid": Recipe(
        "fourier",
        (_adam_phase(512, transforms.LUCID, "redirected"),),
        "lucid, render.py and transform.py",
        margin=12,
    ),
    "olah2017": Recipe(
        "fourier",
        (_adam_phase(2560, OLAH_TRANSFORM),),
        "Olah, Mordvintsev and Schubert 2017, appendix",
        margin=24,
    ),
}
