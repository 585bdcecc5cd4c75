"""One chunk of an ascent on its way: its images, their scores, and what is kept of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .errors import InputError
from .imagespace import Space
from .objectives import Objective, evaluate
from .shapes import Bool, Float, Images, Int
from .transforms import Operator, Transform

# (parameter, its gradient, step, what this optimiser remembers) -> change of the parameter
Rule = Callable[[Tensor, Tensor, int, dict], Tensor]


@dataclass(frozen=True)
class Trace:
    """What an ascent gave.

    Attributes:
        images: the best or the last images, as asked.
        history: score of every image at every step, (steps, n); NaN once it is finished, or after
            an interruption.
        best_step: at which step each image scored best.
        snapshots: step -> images at that step, before it.
        interrupted: whether it was stopped early.
        watched: the watched number of every image at every step, NaN like the history; no rows
            where nothing was watched.
        state: what moved, as it was at the end; batch first.
    """

    images: Images
    history: Float[Tensor, "steps n"]
    best_step: Int[Tensor, " n"]
    snapshots: dict[int, Tensor]
    interrupted: bool
    watched: Float[Tensor, "noted n"]
    state: tuple[Tensor, ...]


def no_gradient(objective: Objective) -> str:
    """Say that nothing pulls at the image."""
    layers = ", ".join(objective.layers) or "the image"
    return f"the score of {layers} has no gradient towards the image; choose another unit"


class Climb:
    """One chunk on its way up.

    Attributes:
        space: the images that still move.
        rows: their numbers within the chunk.
        silent: whether the first gradient was zero for all images.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        space: Space,
        part: range,
        keep: str,
        snapshots: Sequence[int],
        watch: Objective | None,
        enough: Tensor | None,
    ) -> None:
        self.model, self.objective, self.watch = model, objective, watch
        self.space = space.part(part.start, part.stop)
        self.index, self.rows = torch.arange(part.start, part.stop), torch.arange(len(part))
        self.keep, self.enough = keep, None if enough is None else enough[part.start : part.stop]
        self.memory: list[dict] = [{} for _ in space.parameters]
        self.scores: list[Tensor] = []
        self.watched: list[Tensor] = []
        self.best = torch.full((len(part),), -torch.inf)
        self.best_step = torch.zeros(len(part), dtype=torch.int64)
        with torch.no_grad():
            self.images = self.space.images().clone()
        self.snapshot_steps = frozenset(snapshots)
        self.snapshots: dict[int, Tensor] = {}
        self.silent = True
        self.ended = tuple(p.detach().clone() for p in self.space.parameters)

    def gradients(
        self, step: int, transform: Transform | None, drawn: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Score the images as they are, note the score, and return the gradient of the state.

        Images that are finished leave before the gradient is taken.
        """
        images = self.space.images()
        seen = transform(images, drawn) if transform else images
        index = self.index[self.rows].to(images.device)
        wanted = [self.objective, self.watch] if self.watch else [self.objective]
        score, *watched = evaluate(wanted, self.model, images, index, seen)
        self._note(step, images.detach(), score.detach().float().cpu())
        moving = self._moving(*watched)
        if not moving.any():
            self.silent = False
            self._leave(moving, images.detach())
            return ()
        gradients = self._gradients(score[moving.to(score.device)].sum())
        if step == 0:
            self.silent = bool(moving.all()) and not any(bool(g.any()) for g in gradients)
        if not moving.all():
            self._leave(moving, images.detach())
            gradients = tuple(g[moving.to(g.device)] for g in gradients)
        return gradients

    def _gradients(self, score: Tensor) -> tuple[Tensor, ...]:
        if not score.requires_grad:
            raise InputError(no_gradient(self.objective))
        gradients = torch.autograd.grad(score, self.space.parameters, allow_unused=True)
        if any(g is None for g in gradients):
            raise InputError(no_gradient(self.objective))
        return gradients

    def _note(self, step: int, images: Images, score: Float[Tensor, " n"]) -> None:
        if not torch.isfinite(score).all():
            bad = int((~torch.isfinite(score)).nonzero()[0])
            layers = ", ".join(self.objective.layers) or "the image"
            raise InputError(
                f"the score of image {int(self.index[self.rows[bad]])} on {layers} became "
                f"{float(score[bad])} at step {step}; use a smaller step size or check the weights"
            )
        self.scores.append(self._whole(score))
        better = score > self.best[self.rows]
        rows = self.rows[better]
        self.best[rows], self.best_step[rows] = score[better], step
        if self.keep == "best":
            self.images[rows.to(images.device)] = images[better.to(images.device)]
        if step in self.snapshot_steps:
            self.snapshots[step] = self.images.clone()
            self.snapshots[step][self.rows.to(images.device)] = images

    def _whole(self, values: Float[Tensor, " n"]) -> Float[Tensor, " chunk"]:
        """Fill in NaN for the images that are finished."""
        whole = torch.full((len(self.index),), torch.nan)
        whole[self.rows] = values
        return whole

    def _moving(self, watched: Tensor | None = None) -> Bool[Tensor, " n"]:
        """Note the watched number; say which images are not finished by it."""
        if watched is None:
            return torch.ones(len(self.rows), dtype=torch.bool)
        watched = watched.detach().float().cpu()
        self.watched.append(self._whole(watched))
        if self.enough is None:
            return torch.ones(len(self.rows), dtype=torch.bool)
        return watched > self.enough[self.rows]

    def _leave(self, moving: Bool[Tensor, " n"], images: Images) -> None:
        """Keep the images that are finished as they are, and go on with the others."""
        device = images.device
        self.images[self.rows[~moving].to(device)] = images[~moving.to(device)]
        for memory in self.memory:
            for name, value in memory.items():
                if isinstance(value, Tensor) and len(value) == len(moving):
                    memory[name] = value[moving.to(value.device)]
        self._keep_state()
        self.rows, self.space = self.rows[moving], self.space.pick(moving)

    def _keep_state(self) -> None:
        for kept, parameter in zip(self.ended, self.space.parameters, strict=True):
            kept[self.rows.to(kept.device)] = parameter.detach()

    def state(self) -> tuple[Tensor, ...]:
        """Return what moves, as it is now, of finished images too."""
        self._keep_state()
        return self.ended

    @torch.no_grad()
    def move(
        self, gradients: tuple[Tensor, ...], step: int, rule: Rule, operators: Sequence[Operator]
    ) -> None:
        """Take one step, then let the operators and the space's own bounds act."""
        for parameter, gradient, memory in zip(
            self.space.parameters, gradients, self.memory, strict=True
        ):
            parameter += rule(parameter, gradient, step, memory)
        for operator in operators:
            parameter = self.space.parameters[0]
            parameter.copy_(operator(parameter, gradients[0], step))
        if self.space.project:
            self.space.project(*self.space.parameters)
        if self.keep == "last":
            images = self.space.images()
            self.images[self.rows.to(images.device)] = images


def joined(climbs: Sequence[Climb], steps: int, interrupted: bool) -> Trace:
    """Put the chunks' results side by side."""
    shared = set.intersection(*(set(climb.snapshots) for climb in climbs))
    return Trace(
        torch.cat([climb.images for climb in climbs]),
        torch.cat([_filled(climb, climb.scores, steps) for climb in climbs], 1),
        torch.cat([climb.best_step for climb in climbs]),
        {step: torch.cat([climb.snapshots[step] for climb in climbs]) for step in sorted(shared)},
        interrupted,
        torch.cat([_filled(c, c.watched, steps if c.watch else 0) for c in climbs], 1),
        tuple(torch.cat(parts) for parts in zip(*(c.state() for c in climbs), strict=True)),
    )


def _filled(climb: Climb, rows: Sequence[Tensor], steps: int) -> Float[Tensor, "steps n"]:
    filled = torch.full((steps, len(climb.index)), torch.nan)
    if rows:
        filled[: len(rows)] = torch.stack(list(rows))
    return filled
