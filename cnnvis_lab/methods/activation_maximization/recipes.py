"""The optimization recipes of the literature, by name, with their published constants.

Constants stated for pixels in 0..255 are converted to [0, 1]: a learning rate for that range is
divided by 255^2, because both the gradient and the step change with the range.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...core import Float, optimization
from ...core.backward import relu_rules
from ...core.optimization import Phase, objectives, optimizers, transforms
from ...data.images import Size

BYTE = 255.0
_RATE_SCALE = 1 / BYTE**2


@dataclass(frozen=True)
class Recipe(optimization.Recipe):
    """A recipe for rendering units.

    Attributes:
        regularizer: subtracted from the objective, with its weight; None for none.
        margin: width, in pixels, of the border around the receptive field that the transformations
            need.
        weigh: function from the activation and the number of pixels in the receptive field to the
            weighted activation.
    """

    regularizer: objectives.Objective | None = None
    margin: int = 8
    weigh: Callable[[objectives.Objective, int], objectives.Objective] | None = None

    def for_size(self, size: Size) -> "Recipe":
        """Return the recipe for images of a size, which transformations then preserve."""
        fit = transforms.fit(size)
        phases = tuple(
            replace(phase, transform=transforms.compose(phase.transform, fit))
            if phase.transform
            else phase
            for phase in self.phases
        )
        return replace(self, phases=phases)


def _linear(first: float, last: float, steps: int) -> Callable[[int], float]:
    """Return a schedule that goes linearly from a first to a last value."""
    return lambda step: first + (last - first) * min(step / max(steps - 1, 1), 1)


def _total_variation_denoiser(weight: Callable[[int], float]) -> transforms.Operator:
    """Denoise by split-Bregman total variation, with scikit-image's weight at each step.

    A larger weight preserves more of the image: it weighs fidelity, like 1 / weight in the authors'
    code.

    Source: Nguyen et al. 2016 (multifaceted): 100 iterations, tolerance 1e-3.
    """

    def operator(images: Tensor, gradient: Tensor, step: int) -> Tensor:
        from skimage.restoration import denoise_tv_bregman  # slow to import

        denoised = [
            denoise_tv_bregman(
                image, weight(step), max_num_iter=100, eps=1e-3, channel_axis=-1
            ).reshape(image.shape)  # it drops the axis of a single channel
            for image in images.movedim(1, -1).cpu().numpy()
        ]
        stacked = torch.stack([torch.from_numpy(image) for image in denoised])
        return stacked.movedim(-1, 1).to(images)

    return operator


def _multifaceted_phase(
    steps: int, rates: tuple[float, float], strengths: tuple[float, float], enlarge: float = 1.0
) -> Phase:
    """Return a phase whose step size and denoising strength change linearly between two values."""
    rate = _linear(*rates, steps)
    # The authors state denoising strengths; scikit-image's weight is that of fidelity.
    weight = _linear(4 / strengths[0], 4 / strengths[1], steps)
    return Phase(
        steps,
        optimizers.normalized_gradient(lambda step: rate(step) / BYTE),
        transforms.roll(4),
        (_total_variation_denoiser(weight),),
        enlarge=enlarge,
    )


def _redirected(
    steps: int, rule: optimizers.UpdateRule, transform: transforms.Transform | None = None
) -> tuple[Phase, ...]:
    """Return one phase in whose first 16 steps gradients pass inactive ReLUs."""
    return (Phase(steps, rule, transform, relu_rule="redirected", relu_rule_steps=16),)


def _yosinski(steps: int, rule: optimizers.UpdateRule, *operators: transforms.Operator) -> Recipe:
    """Return one of the four settings, with its operators in the order of gradient_optimizer.py."""
    return Recipe(
        "pixels",
        (Phase(steps, rule, operators=operators),),
        "Yosinski et al. 2015, table 1, and optimize_image.py",
        start_std=10 / BYTE,
    )


def mahendran2016(largest: Float[Tensor, " n"]) -> Recipe:
    """Return the recipe with alpha-norm, total variation and jitter.

    The activation is multiplied by 10^4 over the number of pixels of the receptive field, and
    divided by the unit's largest activation over a dataset. In the paper x is pixels minus gray in
    0..255, alpha 6, beta 2 and sigma 80.

    Args:
        largest: largest activation over a dataset of each unit to be rendered.

    Source: Mahendran and Vedaldi 2016.
    """
    sigma, alpha = 80 / BYTE, 6
    # Where the objectives here are means, the paper sums: over channels by the factor 3, and over
    # pixels by `per_pixel`.
    norms = 3 * objectives.alpha_norm(alpha) / sigma**alpha
    variation = 3 * objectives.total_variation(2.0) * (6.5 / sigma) ** 2
    divisors = largest.clamp(min=1e-6)

    def weigh(activation: objectives.Objective, pixels: int) -> objectives.Objective:
        factor, score = 1e4 / pixels, activation.score
        return replace(
            activation, score=lambda acts, x, i: factor * score(acts, x, i) / divisors.to(x)[i]
        )

    def phase(steps: int, factor: float, transform: transforms.Transform | None) -> Phase:
        rule = optimizers.per_pixel(optimizers.sgd(factor * 0.05 * sigma**2 / alpha, momentum=0.9))
        return Phase(steps, rule, transform, relu_rule=relu_rules.leaky(0.05))

    return Recipe(
        "pixels",
        (phase(300, 1.0, transforms.roll(2)), phase(50, 0.1, None)),
        "Mahendran and Vedaldi 2016: alpha 6, sigma 80, beta 2, 10^4 / field^2 / largest",
        regularizer=norms + variation,
        start_std=20 / BYTE,
        weigh=weigh,
    )


# Slight changes of position, angle and size, so that only robust patterns are rendered.
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
_BLUR = transforms.gaussian_blur(0.5, every=4)
_STRONG_BLUR = transforms.gaussian_blur(1.0, every=4)
_WEAK_DECAY = transforms.decay(1e-4)
RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "fourier",
        _redirected(
            96,
            optimizers.normalized_gradient(lambda step: 0.004 * 0.983**step),
            DEFAULT_TRANSFORM,
        ),
        "this project: steps along the Fourier gradient divided by its mean magnitude, so that "
        "frequencies that the transformations scramble stay small; chosen by measurement",
    ),
    "none": Recipe(
        "pixels",
        (Phase(128, optimizers.adam(0.02)),),
        "this project: no prior at all, for comparison",
        start_std=0.02,
    ),
    "erhan": Recipe(
        "pixels",
        _redirected(100, optimizers.project_to_sphere(8.0, 0.1)),
        "Erhan et al. 2009: fixed norm; norm and step size are this project's",
        start_std=0.1,
        bounded=False,
    ),
    "simonyan": Recipe(
        "pixels",
        (Phase(96, optimizers.normalized_gradient(lambda step: 0.02 * 0.98**step)),),
        "Simonyan et al. 2013: class score minus L2 norm, from a gray image; weight and step "
        "sizes are this project's, and so is weak noise, since gray alone may activate no unit",
        regularizer=4000 * objectives.l2(),
    ),
    "yosinski1": _yosinski(
        500,
        optimizers.target_increase(2.0, 100 * _RATE_SCALE),
        _BLUR,
        transforms.clip_small_norm(50),
    ),
    "yosinski2": _yosinski(
        750,
        optimizers.sgd(100 * _RATE_SCALE),
        transforms.decay(0.3),
        transforms.clip_small_norm(20),
    ),
    "yosinski3": _yosinski(1000, optimizers.sgd(100 * _RATE_SCALE), _WEAK_DECAY, _STRONG_BLUR),
    "yosinski4": _yosinski(
        1000,
        optimizers.target_increase(2.0, 1e8 * _RATE_SCALE),
        _BLUR,
        transforms.clip_small_contribution(90),
    ),
    "yosinski3_scaled": replace(
        _yosinski(96, optimizers.normalized_gradient(0.02), _WEAK_DECAY, _STRONG_BLUR),
        source="Yosinski et al. 2015, set 3, with steps divided by the gradient's mean magnitude: "
        "the learning rate of 100 suits CaffeNet's gradients only",
    ),
    "multifaceted": Recipe(
        "pixels",
        (
            _multifaceted_phase(190, (1, 2), (0.4, 0.4)),
            _multifaceted_phase(150, (1, 1), (0.01, 2), enlarge=1.2),
            _multifaceted_phase(20, (2, 2), (0.1, 2)),
            _multifaceted_phase(10, (2, 2), (0.4, 2)),
        ),
        "Nguyen et al. 2016 (multifaceted), act_max.tvd.mean.py; starts at a facet's mean image",
        start_std=0.02,
    ),
    "lucid": Recipe(
        "fourier",
        _redirected(512, optimizers.adam(0.05), transforms.LUCID),
        "lucid, render.py and transform.py",
        margin=12,
    ),
    "olah2017": Recipe(
        "fourier",
        (Phase(2560, optimizers.adam(0.05), OLAH_TRANSFORM),),
        "Olah, Mordvintsev and Schubert 2017, appendix",
        margin=24,
    ),
}
