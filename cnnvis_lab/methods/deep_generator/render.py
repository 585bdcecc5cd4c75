"""DGN-AM: activation maximization through a generator that only knows how to draw natural pictures.

c* = argmax_c a(G(c)) - lambda(c): what moves is the code c of a generator G, and a is a unit of any
network that looks at what G draws (survey, section 3). Beside it the samplers of PPGN, which add a
prior on codes and noise, and so wander from one picture of a class to another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...core import Float, Images, InputError
from ...core.optimization import (
    GIBIBYTE,
    Options,
    Phase,
    ascend,
    image_space,
    objectives,
    optimizers,
)
from ...models import Model, generators
from .codes import CodeBounds

STEPS = 200
DECAY = 0.99
AUTHORS_RATE = 8.0  # step size


@dataclass(frozen=True)
class Rendering:
    """Pictures drawn by a generator for units of a network.

    Attributes:
        targets: "layer:unit" of each.
        images: (n, 3, h, w) in [0, 1], what the network looks at.
        codes: (n, *code) they are drawn from.
        activations: what each unit answers to its picture.
        history: (steps, n) the unit's activation (for PPGN: log probability) at every step.
        snapshots: step -> images, not cut to [0, 1].
        interrupted: whether the ascent was stopped early.
    """

    targets: tuple[str, ...]
    images: Images
    codes: Float[Tensor, "n ..."]
    activations: Float[Tensor, " n"]
    history: Float[Tensor, "steps n"]
    snapshots: dict[int, Tensor]
    interrupted: bool


def render(
    model: Model,
    generator: generators.Generator,
    targets: Sequence[str],
    limits: CodeBounds,
    *,
    bounded: bool = True,
    steps: int = STEPS,
    rate: float | None = None,
    end_rate: float = 1e-10,
    decay: float = DECAY,
    starts: Float[Tensor, "n ..."] | None = None,
    seeds: Sequence[int] | None = None,
    position: tuple[int, int] | None = None,
    seed: int = 0,
    memory_limit: int = GIBIBYTE,
    snapshots: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[Tensor], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendering:
    """Find the codes whose pictures excite units most, each target for itself.

    A step goes along the gradient over its mean size, both in the picture and in the code; the
    first of the two drops out, since the second is taken of what the first is multiplied by. Then
    the code is held within its bounds and decays. The last picture is kept, not the best: the
    authors found that a higher activation is no better picture.

    Args:
        model: any network; not necessarily the one the generator was trained on.
        generator: draws.
        targets: "layer:unit", all of one layer; a unit may stand there several times.
        limits: from `bounds`; also the measure of step sizes.
        bounded: hold codes within them.
        steps: of the ascent.
        rate: first step size, the mean change of a number of the code; 8 of the authors' by
            default, see `CodeBounds.scale`.
        end_rate: last step size; it falls linearly.
        decay: factor of the code after each step.
        starts: codes to begin with; normal noise by default.
        seeds: one for the start of each; `seed` for all by default.
        position: (row, column) of a unit in its map; the middle by default.
        seed: of the starts.
        memory_limit: bytes one pass may take.
        snapshots: steps at which pictures are kept.
        on_progress: called with (steps done, steps in all).
        on_step: called after each step with the pictures as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: targets of several layers, a unit out of range, no gradient.
        NameNotFound: an unknown layer.

    Source: Nguyen et al. 2016, act_max.py; survey section 3, figure F3.
    """
    layer, units = objectives.parse_targets(targets)
    first = AUTHORS_RATE * limits.scale if rate is None else rate
    held = (limits.low, limits.high) if bounded else (None, None)
    options = Options(seed, seeds, memory_limit, snapshots, on_progress, on_step, should_stop)
    begun = starting_codes(starts, options.start_seeds(len(units)), limits)
    return optimize_codes(
        model,
        objectives.neuron(layer, units, position),
        code_space(model, generator, begun, held, decay),
        targets,
        steps,
        optimizers.normalized_gradient(lambda step: first + (end_rate - first) * step / steps),
        options,
    )


def fit_to_input(model: Model, drawn: Images) -> Float[Tensor, "n 3 rows columns"]:
    """Return drawn pictures as the network takes them: the middle, or enlarged where too small."""
    size, given = model.card.input_size, drawn.shape[-1]
    if given < size:
        return functional.interpolate(drawn, size=(size, size), mode="bilinear")
    start = (given - size) // 2
    return drawn[..., start : start + size, start : start + size]


def starting_codes(starts: Tensor | None, seeds: list[int], limits: CodeBounds) -> Tensor:
    """Return the codes to begin with: those given, or random ones within the bounds' scale."""
    if starts is not None:
        return starts.clone()
    shape = limits.high.shape
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(drawn) * limits.scale


def code_space(
    model: Model,
    generator: generators.Generator,
    codes: Tensor,
    held: tuple[Tensor | None, Tensor | None],
    decay: float,
) -> image_space.Space:
    """The space of codes: drawn by the generator, held within bounds, decaying."""
    device = model.device
    low, high = (None if bound is None else bound.to(device) for bound in held)

    def project(code: Tensor) -> None:
        if low is not None:
            code.clamp_(low, high)
        code.mul_(decay)

    state = codes.to(device).requires_grad_()
    return image_space.Space((state,), lambda code: fit_to_input(model, generator(code)), project)


def optimize_codes(
    model: Model,
    objective: objectives.Objective,
    space: image_space.Space,
    targets: Sequence[str],
    steps: int,
    optimizer: optimizers.UpdateRule,
    options: Options,
) -> Rendering:
    """Ascend; the picture kept is the one the last step began with."""
    if steps < 2:
        raise InputError(f"{steps} steps: expected at least 2")
    trace = ascend(model, objective, space, Phase(steps - 1, optimizer), options)
    with torch.no_grad():
        index = torch.arange(len(trace.images))
        last = objectives.scores(objective, model, trace.images, index, trace.images)
    activations = last.float().cpu()
    return Rendering(
        tuple(targets),
        trace.images.clamp(0, 1),
        trace.state[0],
        activations,
        torch.cat([trace.history, activations[None]]),
        trace.snapshots,
        trace.interrupted,
    )
