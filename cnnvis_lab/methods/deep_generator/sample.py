"""PPGN (Nguyen et al. 2017): sample codes of a class with a denoising prior and noise."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float
from ...core.optimization import GIBIBYTE, Options, objectives, optimizers
from ...models import Model, generators
from .codes import CodeBounds
from .render import STEPS, Rendering, code_space, optimize_codes, starting_codes

PPGN_CODE_LIMIT = 30.0  # of the same codes


def sample(
    model: Model,
    generator: generators.Generator,
    targets: Sequence[str],
    limits: CodeBounds,
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
    memory_limit: int = GIBIBYTE,
    snapshots: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[Tensor], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Rendering:
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
        memory_limit: as in `render`.
        snapshots: steps at which pictures are kept: the walk itself.
        on_progress: as in `render`.
        on_step: as in `render`.
        should_stop: as in `render`.

    Source: Nguyen et al. 2017, PPGN-h, equation 5 and sampler.py, whose step is normalised so.
    """
    layer, units = objectives.parse_targets(targets)
    pace = optimizers.normalized_gradient(limits.scale if rate is None else rate)

    def walk(code: Tensor, gradient: Tensor, step: int, kept: dict) -> Tensor:
        drawn = kept.setdefault("drawn", torch.Generator().manual_seed(seed))
        change = prior * (denoise(code.detach()) - code.detach()) + condition * gradient
        change += noise * torch.randn(code.shape, generator=drawn).to(code)
        return pace(code, change, step, kept)

    largest = PPGN_CODE_LIMIT * limits.scale
    held = (limits.low, torch.full_like(limits.high, largest))
    options = Options(seed, seeds, memory_limit, snapshots, on_progress, on_step, should_stop)
    begun = starting_codes(starts, options.start_seeds(len(units)), limits)
    return optimize_codes(
        model,
        objectives.log_probability(layer, units),
        code_space(model, generator, begun, held, 1.0),
        targets,
        steps,
        walk,
        options,
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
