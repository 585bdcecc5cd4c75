"""DGN-AM: activation maximization through a generator that only knows how to draw natural pictures.

c* = argmax_c a(G(c)) - lambda(c): what moves is the code c of a generator G, and a is a unit of any
network that looks at what G draws (survey, section 3). Beside it the samplers of PPGN, which add a
prior on codes and noise, and so wander from one picture of a class to another.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core import hooks, objectives, optimize
from ..core.errors import InputError
from ..core.imagespace import Space, one_each
from ..core.objectives import Objective
from ..core.shapes import Float, Images, Int
from ..models import Model
from ..models.generators import Generator

STEPS, DECAY, SIGMAS = 200, 0.99, 3.0
AUTHORS_RATE, AUTHORS_BOUND = 8.0, 11.85  # step size; mean upper bound of CaffeNet's fc6 codes
PPGN_LARGEST = 30.0  # of the same codes


@dataclass(frozen=True)
class Bounds:
    """How far each number of a code may go.

    Attributes:
        low: (*code) smallest value: 0 for rectified codes.
        high: (*code) largest value, mean + 3 sigma over a data set in the authors' scripts.
    """

    low: Tensor
    high: Tensor

    @property
    def unit(self) -> float:
        """What the number 1 of the authors' codes is in these: step sizes and starts scale by it.

        Their bounds for fc6 are 11.85 on average, their step size 8.
        """
        return float(self.high.mean()) / AUTHORS_BOUND


@dataclass(frozen=True)
class Drawing:
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


@torch.no_grad()
def encode(
    encoder: Model, generator: Generator, batches: Iterable[tuple[Int[Tensor, " n"], Images]]
) -> Float[Tensor, "n ..."]:
    """Return the codes a generator reads, of the pictures of a data set.

    Args:
        encoder: the network the generator was trained on, `generator.spec.encoder`.
        generator: says which layer.
        batches: (indices, images) as data sets give them.

    Raises:
        InputError: the encoder's codes have another shape.
    """
    layer, wanted = generator.spec.layer, generator.spec.code
    codes = [
        hooks.activations(encoder, images.to(encoder.mean.device), [layer])[layer].cpu()
        for _, images in batches
    ]
    found = tuple(codes[0].shape[1:])
    if found != wanted:
        raise InputError(
            f"{encoder.card.name} gives codes of shape {found} at {layer}; {generator.name} reads "
            f"{wanted} of {generator.spec.encoder}; load that network as the encoder"
        )
    return torch.cat(codes)


def bounds(codes: Float[Tensor, "n ..."], sigmas: float = SIGMAS) -> Bounds:
    """Return mean + `sigmas` deviations of each number of the codes, and 0 or mean - as much.

    Source: Nguyen et al. 2016, their files act_range/3x.
    """
    mean, spread = codes.mean(0), codes.std(0)
    low = mean - sigmas * spread if bool((codes < 0).any()) else torch.zeros_like(mean)
    return Bounds(low, mean + sigmas * spread)


def render(
    model: Model,
    generator: Generator,
    targets: Sequence[str],
    limits: Bounds,
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
    memory: int = optimize.GIBIBYTE,
    snapshots: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
    look: optimize.Look | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Drawing:
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
            default, see `Bounds.unit`.
        end_rate: last step size; it falls linearly.
        decay: factor of the code after each step.
        starts: codes to begin with; normal noise by default.
        seeds: one for the start of each; `seed` for all by default.
        position: (row, column) of a unit in its map; the middle by default.
        seed: of the starts.
        memory: bytes one pass may take.
        snapshots: steps at which pictures are kept.
        progress: called with (steps done, steps in all).
        look: called after each step with the pictures as they are, to be looked at only.
        should_stop: asked before each step.

    Raises:
        InputError: targets of several layers, a unit out of range, no gradient.
        NameNotFound: an unknown layer.

    Source: Nguyen et al. 2016, act_max.py; survey section 3, figure F3.
    """
    layer, units = objectives.one_layer(targets)
    first = AUTHORS_RATE * limits.unit if rate is None else rate
    held = (limits.low, limits.high) if bounded else (None, None)
    begun = _starts(starts, one_each(seeds, seed, len(units)), limits)
    return _draw(
        model,
        objectives.neuron(layer, units, position),
        _space(model, generator, begun, held, decay),
        targets,
        steps,
        optimizer=optimize.normalised(lambda step: first + (end_rate - first) * step / steps),
        memory=memory,
        snapshots=snapshots,
        progress=progress,
        look=look,
        should_stop=should_stop,
    )


def sample(
    model: Model,
    generator: Generator,
    targets: Sequence[str],
    limits: Bounds,
    denoise: Callable[[Tensor], Tensor],
    *,
    prior: float = 1e-5,
    condition: float = 1.0,
    noise: float = 1e-17,
    steps: int = STEPS,
    rate: float | None = None,
    starts: Float[Tensor, "n ..."] | None = None,
    seeds: Sequence[int] | None = None,
    seed: int = 0,
    memory: int = optimize.GIBIBYTE,
    snapshots: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
    look: optimize.Look | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Drawing:
    """Walk among the codes of a class: a step towards likely codes, one towards the class, noise.

    h <- h + rate normalised(prior (R(h) - h) + condition d log p(class | G(h)) / dh + noise n),
    with n from N(0, 1), held within [0, 30] of the authors' codes.

    Args:
        model: any classifier.
        generator: draws.
        targets: "layer:class", the layer that scores the classes.
        limits: from `bounds`; the measure of step sizes.
        denoise: R, from `fit_denoiser`: codes to more likely codes.
        prior: epsilon 1.
        condition: epsilon 2.
        noise: epsilon 3, a deviation; larger ones let the walk leave one picture for another.
        steps: of the walk.
        rate: mean change of a number of the code in a step; 1 of the authors' by default.
        starts: as in `render`.
        seeds: as in `render`.
        seed: of the starts and of the noise.
        memory: as in `render`.
        snapshots: steps at which pictures are kept: the walk itself.
        progress: as in `render`.
        look: as in `render`.
        should_stop: as in `render`.

    Source: Nguyen et al. 2017, PPGN-h, equation 5 and sampler.py, whose step is normalised so.
    """
    layer, units = objectives.one_layer(targets)
    pace = optimize.normalised(limits.unit if rate is None else rate)

    def walk(code: Tensor, gradient: Tensor, step: int, kept: dict) -> Tensor:
        drawn = kept.setdefault("drawn", torch.Generator().manual_seed(seed))
        change = prior * (denoise(code.detach()) - code.detach()) + condition * gradient
        change += noise * torch.randn(code.shape, generator=drawn).to(code)
        return pace(code, change, step, kept)

    largest = PPGN_LARGEST * limits.unit
    held = (limits.low, torch.full_like(limits.high, largest))
    begun = _starts(starts, one_each(seeds, seed, len(units)), limits)
    return _draw(
        model,
        objectives.log_probability(layer, units),
        _space(model, generator, begun, held, 1.0),
        targets,
        steps,
        optimizer=walk,
        memory=memory,
        snapshots=snapshots,
        progress=progress,
        look=look,
        should_stop=should_stop,
    )


def fit_denoiser(
    codes: Float[Tensor, "n ..."], *, noise: float = 0.5, steps: int = 400, seed: int = 0
) -> Callable[[Tensor], Tensor]:
    """Train an autoencoder to take noise off codes; R(h) - h then points to likelier codes.

    Args:
        codes: of a data set's pictures.
        noise: deviation of the noise, in deviations of each number of the code.
        steps: of training, 128 codes each.
        seed: of weights, order and noise.

    Returns:
        R, from codes to codes of the same shape.

    Source: Nguyen et al. 2017, PPGN-h. Theirs has seven full layers that narrow to an eighth; this
    one has five that narrow to a quarter.
    """
    flat = codes.flatten(1)
    mean, spread = flat.mean(0), flat.std(0) + 1e-3 * flat.std()
    plain, width = (flat - mean) / spread, flat.shape[1]
    widths = [width, width // 2, max(width // 4, 1), width // 2, width]
    drawn = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    net = nn.Sequential(*[part for layer in layers for part in (layer, nn.ELU())][:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        chosen = plain[torch.randint(len(plain), (128,), generator=drawn)]
        noisy = chosen + noise * torch.randn(chosen.shape, generator=drawn)
        loss = functional.mse_loss(net(noisy), chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.requires_grad_(False)

    def denoise(code: Tensor) -> Tensor:
        cleaned = net((code.flatten(1).cpu() - mean) / spread) * spread + mean
        return cleaned.view(code.shape).to(code)

    return denoise


def seen_by(model: Model, drawn: Images) -> Float[Tensor, "n 3 rows columns"]:
    """Return drawn pictures as the network takes them: the middle, or enlarged where too small."""
    size, given = model.card.input_size, drawn.shape[-1]
    if given < size:
        return functional.interpolate(drawn, size=(size, size), mode="bilinear")
    start = (given - size) // 2
    return drawn[..., start : start + size, start : start + size]


def _starts(starts: Tensor | None, seeds: list[int], limits: Bounds) -> Tensor:
    if starts is not None:
        return starts.clone()
    shape = limits.high.shape
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(drawn) * limits.unit


def _space(
    model: Model,
    generator: Generator,
    codes: Tensor,
    held: tuple[Tensor | None, Tensor | None],
    decay: float,
) -> Space:
    """The space of codes: drawn by the generator, held within bounds, decaying."""
    device = model.mean.device
    low, high = (None if bound is None else bound.to(device) for bound in held)

    def project(code: Tensor) -> None:
        if low is not None:
            code.clamp_(low, high)
        code.mul_(decay)

    state = codes.to(device).requires_grad_()
    return Space((state,), lambda code: seen_by(model, generator(code)), project)


def _draw(
    model: Model,
    objective: Objective,
    space: Space,
    targets: Sequence[str],
    steps: int,
    **knobs: object,
) -> Drawing:
    """Ascend; the picture kept is the one the last step began with."""
    if steps < 2:
        raise InputError(f"{steps} steps: expected at least 2")
    trace = optimize.ascend(model, objective, space, steps=steps - 1, keep="last", **knobs)
    with torch.no_grad():
        index = torch.arange(len(trace.images))
        last = objectives.scores(objective, model, trace.images, index, trace.images)
    activations = last.float().cpu()
    return Drawing(
        tuple(targets),
        trace.images.clamp(0, 1),
        trace.state[0],
        activations,
        torch.cat([trace.history, activations[None]]),
        trace.snapshots,
        trace.interrupted,
    )
