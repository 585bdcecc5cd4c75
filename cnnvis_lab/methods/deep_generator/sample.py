"""PPGN (Nguyen et al. 2017): sample codes of a class with a denoising prior and noise."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...core import Float, passes_missing, with_gradients
from ...core.optimization import objectives, optimizers
from .codes import CodeBounds

AUTHORS_LIMIT = 30.0  # of the authors' codes
DENOISER_WEIGHTS = 2**23  # of a layer, at most; enough for half the width of fc6

Denoiser = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CodeWalk:
    """A walk in code space toward likely codes and a class (PPGN-h), as a method of `render`.

    h <- h + s normalized(prior (R(h) - h) + condition d log p(class | G(h)) / dh + noise n), with n
    from N(0, 1), clamped to [0, 30] on the authors' scale. The targets are "layer:class", where the
    layer scores the classes; the defaults are the authors'.

    Attributes:
        denoise: R, from `fit_denoiser`, which maps codes to more likely ones.
        steps: number of steps of the walk; snapshots show its images.
        prior: weight of the step toward likely codes, epsilon 1.
        condition: weight of the step toward the class, epsilon 2.
        noise: standard deviation of the noise, epsilon 3; with larger values the walk moves from
            one image to another.
        step_size: mean change of an element of the code per step; None for `CodeBounds.scale`.
        decay: 1, because codes do not decay.

    Source: Nguyen et al. 2017, equation 5 and sampler.py, which normalizes the step.
    """

    denoise: Denoiser
    steps: int = 200
    prior: float = 1e-5
    condition: float = 1.0
    noise: float = 1e-17
    step_size: float | None = None
    decay: ClassVar[float] = 1.0

    def objective(self, layer: str, units: Sequence[int]) -> objectives.Objective:
        """Return the log probabilities of the classes."""
        return objectives.log_probability(layer, units)

    def limits(self, bounds: CodeBounds) -> CodeBounds:
        """Return the authors' limits on the scale of these codes."""
        return CodeBounds(bounds.low, torch.full_like(bounds.high, AUTHORS_LIMIT * bounds.scale))

    def update_rule(self, bounds: CodeBounds, seed: int) -> optimizers.UpdateRule:
        """Return the update rule of the walk; the seed is that of the noise."""
        normalized = optimizers.normalized_gradient(
            bounds.scale if self.step_size is None else self.step_size
        )

        def rule(code: Tensor, gradient: Tensor, step: int, state: dict) -> Tensor:
            generator = state.setdefault("generator", torch.Generator().manual_seed(seed))
            code = code.detach()
            change = self.prior * (self.denoise(code) - code) + self.condition * gradient
            change += self.noise * torch.randn(code.shape, generator=generator).to(code)
            return normalized(code, change, step, state)

        return rule


@passes_missing
@with_gradients
def fit_denoiser(
    codes: Float[Tensor, "n ..."], *, noise: float = 0.5, steps: int = 400, seed: int = 0
) -> Denoiser:
    """Train an autoencoder R to remove noise from codes; R(h) - h points to more likely codes.

    Args:
        codes: codes of a dataset's images.
        noise: standard deviation of the noise, relative to that of each element of the code.
        steps: number of training steps, with 128 codes each.
        seed: seed of weights, order and noise.

    Returns:
        The function R from codes to codes of the same shape.

    Source: Nguyen et al. 2017, PPGN-h. Their autoencoder has seven fully connected layers that
    narrow to an eighth; this one has five that narrow to a quarter, or to fewer where a layer would
    have more than `DENOISER_WEIGHTS` weights.
    """
    flat = codes.flatten(1)
    mean, std = flat.mean(0), flat.std(0) + 1e-3 * flat.std()
    standardized, width = (flat - mean) / std, flat.shape[1]
    half = max(1, min(width // 2, DENOISER_WEIGHTS // width))
    widths = [width, half, max(half // 2, 1), half, width]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    net = nn.Sequential(*[part for layer in layers for part in (layer, nn.ELU())][:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        batch = standardized[torch.randint(len(flat), (128,), generator=generator)]
        noisy = batch + noise * torch.randn(batch.shape, generator=generator)
        loss = functional.mse_loss(net(noisy), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.requires_grad_(False)

    def denoise(code: Tensor) -> Tensor:
        denoised = net((code.flatten(1).cpu() - mean) / std) * std + mean
        return denoised.view(code.shape).to(code)

    return denoise
