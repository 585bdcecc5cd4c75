"""DGN-AM (Nguyen et al. 2016): activation maximization in the code space of a generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError, passes_missing, with_gradients
from ...core.optimization import (
    DEFAULT_OPTIONS,
    NoGradientError,
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
    unmoved,
)
from ...data.images import height_and_width
from ...models import Model, generators
from ..activation_maximization import Rendering, full_canvas
from .codes import CodeBounds
from .sample import CodeWalk

TRIED_STARTS = 8  # of a unit that is inactive on the image of its start


@dataclass(frozen=True)
class CodeAscent:
    """Gradient ascent on a unit's activation (DGN-AM); the defaults are the authors'.

    Attributes:
        steps: ascent steps.
        first_step: mean change of an element of the code in the first step, in units of
            `CodeBounds.scale`. With far fewer steps than the authors', use smaller ones: theirs
            would not come to rest.
        last_step: the same for the last step; the change decreases linearly in between.
        decay: factor by which the code is multiplied after each step.
        bounded: clamp codes to the bounds.
        position: (row, column) of a convolutional unit in its map; None for the middle.
    """

    steps: int = 200
    first_step: float = 8.0
    last_step: float = 1e-10
    decay: float = 0.99
    bounded: bool = True
    position: tuple[int, int] | None = None

    @property
    def snapshot_steps(self) -> list[int]:
        """Steps whose images show the course of the ascent: many early ones, and the last."""
        last = self.steps - 2
        return [step for step in (0, 1, 2, 5, 10, 20, 40) if step < last] + [last]

    def objective(self, layer: str, units: Sequence[int]) -> objectives.Objective:
        """Return the units' activations."""
        return objectives.neuron(layer, units, self.position)

    def limits(self, bounds: CodeBounds) -> CodeBounds | None:
        """Return the bounds if codes are clamped to them, else None."""
        return bounds if self.bounded else None

    def update_rule(self, bounds: CodeBounds, seed: int) -> optimizers.UpdateRule:
        """Return the rule: steps along gradient / mean |gradient|; the seed has no effect."""
        change = self.last_step - self.first_step
        return optimizers.normalized_gradient(
            lambda step: bounds.scale * (self.first_step + change * step / self.steps)
        )


DGN_AM = CodeAscent()


@passes_missing
@with_gradients
def render(
    model: Model,
    generator: generators.Generator,
    targets: Sequence[str],
    bounds: CodeBounds,
    method: CodeAscent | CodeWalk = DGN_AM,
    *,
    starts: Float[Tensor, "n ..."] | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Rendering:
    """Find the codes whose generated images maximize units, independently for each target.

    A step of DGN-AM follows the gradient divided by its mean magnitude; the code is then clamped to
    its bounds and decays. (The authors also normalize the gradient with respect to the image, which
    has no effect, because that of the code is normalized afterwards.) The last image is returned,
    not the one with the highest activation, because the authors found that it does not look better.

    Args:
        model: any network, not only the one whose codes the generator reads.
        generator: generates images from codes.
        targets: "layer:unit", all of one layer; a unit may occur several times.
        bounds: from `fit_bounds`; they also set the scale of steps and starts.
        method: number and kind of the steps: `CodeAscent` or, to sample images of a class,
            `CodeWalk`.
        starts: (n, *code) codes to start from; normal noise by default, and other noise for units
            that are inactive on its images. A unit that stays inactive keeps its start.
        options: seeds, memory limit, snapshots and callbacks.

    Raises:
        InputError: targets of several layers, or a unit out of range.
        NameNotFound: an unknown layer.

    Source: Nguyen et al. 2016, act_max.py; survey section 3, figure F3.
    """
    if method.steps < 2:
        raise InputError(f"{method.steps} steps: expected at least 2")
    layer, units = objectives.parse_targets(targets)
    objective = method.objective(layer, units)
    if starts is None:
        starts = _active_noise(model, generator, objective, bounds, options.start_seeds(len(units)))
    space = _code_space(model, generator, starts, method.limits(bounds), method.decay)
    # The authors evaluate the images of the last step, but do not take it.
    phase = Phase(method.steps - 1, method.update_rule(bounds, options.seed))
    try:
        result = ascend(model, objective, space, phase, options)
    except NoGradientError:
        result = unmoved(space, phase.steps)
    activations = objectives.score_images(objective, model, result.images)
    return Rendering(
        tuple(targets),
        result.images.clamp(0, 1),
        activations,
        torch.cat([result.history, activations[None]]),
        result.snapshots,
        result.interrupted,
        full_canvas(result.images.shape[-1]),
        result.state[0],
    )


def fit_to_input(model: Model, images: Images) -> Float[Tensor, "n c rows columns"]:
    """Crop generated images to the center, or enlarge them, to fit a network's input size."""
    height, width = height_and_width(model.card.input_size)
    given = images.shape[-1]
    if given < max(height, width):
        return functional.interpolate(images, size=(height, width), mode="bilinear")
    top, left = (given - height) // 2, (given - width) // 2
    return images[..., top : top + height, left : left + width]


def _noise(bounds: CodeBounds, seeds: Sequence[int]) -> Float[Tensor, "n ..."]:
    shape = bounds.high.shape
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(noise) * bounds.scale


@torch.no_grad()
def _active_noise(
    model: Model,
    generator: generators.Generator,
    objective: objectives.Objective,
    bounds: CodeBounds,
    seeds: Sequence[int],
) -> Float[Tensor, "n ..."]:
    """Return noise; units that are inactive on its images get other noise, a few times."""
    codes = _noise(bounds, seeds)
    for attempt in range(1, TRIED_STARTS):
        images = fit_to_input(model, generator(codes.to(model.device)))
        silent = objectives.score_images(objective, model, images) == 0
        if not silent.any():
            break
        others = _noise(bounds, [seed + 10_007 * attempt for seed in seeds])
        codes[silent] = others[silent]
    return codes


def _code_space(
    model: Model,
    generator: generators.Generator,
    codes: Float[Tensor, "n ..."],
    limits: CodeBounds | None,
    decay: float,
) -> image_space.Space:
    """Return the space of codes that decode to images of the network's input size."""
    low, high = (limits.low, limits.high) if limits else (None, None)

    def project(code: Tensor) -> None:
        if low is not None and high is not None:
            code.clamp_(low.to(code.device), high.to(code.device))
        code.mul_(decay)

    state = codes.clone().to(model.device).requires_grad_()
    return image_space.Space((state,), lambda code: fit_to_input(model, generator(code)), project)
