"""One chunk of an ascent on its way: its images, their scores, and what is kept of them."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import hooks
from ..backward import relu_rules
from ..errors import InputError
from ..types import Bool, Float, Images, Int
from .image_space import Space
from .objectives import Objective, evaluate
from .optimizers import UpdateRule, adam
from .transforms import Operator, Transform


@dataclass(frozen=True)
class AscentResult:
    """What an ascent gave.

    Attributes:
        images: the best or the last images, as asked.
        history: score of every image at every step, (steps, n); NaN once it is finished, or after
            an interruption.
        best_step: at which step each image scored best.
        snapshots: step -> images at that step, before it.
        interrupted: whether it was stopped early.
        monitored: the watched number of every image at every step, NaN like the history; no rows
            where nothing was watched.
        state: what moved, as it was at the end; batch first.
    """

    images: Images
    history: Float[Tensor, "steps n"]
    best_step: Int[Tensor, " n"]
    snapshots: dict[int, Tensor]
    interrupted: bool
    monitored: Float[Tensor, "noted n"]
    state: tuple[Tensor, ...]


def _no_gradient_message(objective: Objective) -> str:
    """Say that nothing pulls at the image."""
    layers = ", ".join(objective.layers) or "the image"
    return f"the score of {layers} has no gradient towards the image; choose another unit"


class _Chunk:
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
        return_: str,
        snapshots: Sequence[int],
        monitor: Objective | None,
        stop_below: Tensor | None,
    ) -> None:
        self.model, self.objective, self.monitor = model, objective, monitor
        self.space = space.part(part.start, part.stop)
        self.index, self.rows = torch.arange(part.start, part.stop), torch.arange(len(part))
        self.return_, self.stop_below = (
            return_,
            None if stop_below is None else stop_below[part.start : part.stop],
        )
        self.states: list[dict] = [{} for _ in space.parameters]
        self.scores: list[Tensor] = []
        self.monitored: list[Tensor] = []
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
        wanted = [self.objective, self.monitor] if self.monitor else [self.objective]
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
            raise InputError(_no_gradient_message(self.objective))
        gradients = torch.autograd.grad(score, self.space.parameters, allow_unused=True)
        if any(g is None for g in gradients):
            raise InputError(_no_gradient_message(self.objective))
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
        if self.return_ == "best":
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
        self.monitored.append(self._whole(watched))
        if self.stop_below is None:
            return torch.ones(len(self.rows), dtype=torch.bool)
        return watched > self.stop_below[self.rows]

    def _leave(self, moving: Bool[Tensor, " n"], images: Images) -> None:
        """Keep the images that are finished as they are, and go on with the others."""
        device = images.device
        self.images[self.rows[~moving].to(device)] = images[~moving.to(device)]
        for state in self.states:
            for name, value in state.items():
                if isinstance(value, Tensor) and len(value) == len(moving):
                    state[name] = value[moving.to(value.device)]
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
        self,
        gradients: tuple[Tensor, ...],
        step: int,
        rule: UpdateRule,
        operators: Sequence[Operator],
    ) -> None:
        """Take one step, then let the operators and the space's own bounds act."""
        for parameter, gradient, state in zip(
            self.space.parameters, gradients, self.states, strict=True
        ):
            parameter += rule(parameter, gradient, step, state)
        for operator in operators:
            parameter = self.space.parameters[0]
            parameter.copy_(operator(parameter, gradients[0], step))
        if self.space.project:
            self.space.project(*self.space.parameters)
        if self.return_ == "last":
            images = self.space.images()
            self.images[self.rows.to(images.device)] = images


def _join_chunks(climbs: Sequence[_Chunk], steps: int, interrupted: bool) -> AscentResult:
    """Put the chunks' results side by side."""
    shared = set.intersection(*(set(climb.snapshots) for climb in climbs))
    return AscentResult(
        torch.cat([climb.images for climb in climbs]),
        torch.cat([_fill_missing_steps(climb, climb.scores, steps) for climb in climbs], 1),
        torch.cat([climb.best_step for climb in climbs]),
        {step: torch.cat([climb.snapshots[step] for climb in climbs]) for step in sorted(shared)},
        interrupted,
        torch.cat(
            [_fill_missing_steps(c, c.monitored, steps if c.monitor else 0) for c in climbs], 1
        ),
        tuple(torch.cat(parts) for parts in zip(*(c.state() for c in climbs), strict=True)),
    )


def _fill_missing_steps(
    climb: _Chunk, rows: Sequence[Tensor], steps: int
) -> Float[Tensor, "steps n"]:
    filled = torch.full((steps, len(climb.index)), torch.nan)
    if rows:
        filled[: len(rows)] = torch.stack(list(rows))
    return filled


StepCallback = Callable[[Tensor], None]
GIBIBYTE = 2**30
# Autograd keeps about one copy of every output and makes one gradient of each; with slack.
COPIES_KEPT = 3


def ascend(
    model: nn.Module,
    objective: Objective,
    space: Space,
    *,
    steps: int,
    optimizer: UpdateRule | None = None,
    transform: Transform | None = None,
    operators: Sequence[Operator] = (),
    relu_rule: str | relu_rules.ReluRule = "gradient",
    relu_rule_steps: int | None = None,
    seed: int = 0,
    memory_limit: int = GIBIBYTE,
    return_: str = "best",
    snapshots: Sequence[int] = (),
    monitor: Objective | None = None,
    stop_below: Float[Tensor, " n"] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_step: StepCallback | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> AscentResult:
    """Maximise an objective over a batch of images.

    Args:
        model: any network; its weights get no gradients.
        objective: one score per image.
        space: what moves; left as it was.
        steps: how many ascent steps.
        optimizer: a rule of this module; `adam()` by default.
        transform: applied to the images before the network sees them, drawn from `seed`.
        operators: applied to pixels after each step, for pixel spaces.
        relu_rule: name in `relu_rules.RELU_RULES`, or a rule, for the backward pass.
        relu_rule_steps: use that rule for the first steps only, then the gradient.
        seed: of the transformations.
        memory_limit: bytes that one forward and backward pass may take; larger batches are cut up.
        return_: "best" scoring image of each, or the "last".
        snapshots: steps at which all images are kept.
        monitor: a number of the same layers, noted at each step without being climbed.
        stop_below: the watched number at which an image is finished; it then stays as it is and
            leaves the batch. None for never.
        on_progress: called with (steps done, steps in all), over all chunks.
        on_step: called after each step with the images of the chunk at work, to be looked at only.
        should_stop: asked before each step; True ends the ascent with what there is.

    Returns:
        The trace. KeyboardInterrupt, too, ends with what there is instead of losing it.

    Raises:
        InputError: a score is not finite, or no image has a gradient at the first step.
    """
    if steps < 1 or return_ not in ("best", "last"):
        raise InputError(
            f"{steps} steps, return_ {return_!r}: expected at least 1, and best or last"
        )
    if stop_below is not None and (monitor is None or objective.group > 1):
        raise InputError(
            "stop_below= ends single images; give monitor=, and no score of whole groups"
        )
    size = _images_per_chunk(model, objective, space, memory_limit)
    chunks = [(i, min(i + size, len(space))) for i in range(0, len(space), size)]
    climbs = [
        _Chunk(model, objective, space, range(i, j), return_, snapshots, monitor, stop_below)
        for i, j in chunks
    ]
    rule, interrupted = optimizer or adam(), False
    try:
        for number, climb in enumerate(climbs):
            drawn = torch.Generator().manual_seed(seed)
            for step in range(steps):
                if should_stop and should_stop():
                    raise KeyboardInterrupt
                early = relu_rule_steps is None or step < relu_rule_steps
                ruled = early and relu_rule != "gradient"
                with relu_rules.relu_rule(relu_rule) if ruled else nullcontext():
                    gradients = climb.gradients(step, transform, drawn)
                if climb is climbs[-1] and all(other.silent for other in climbs):
                    raise InputError(_no_gradient_message(objective))
                if not len(climb.space):
                    break
                climb.move(gradients, step, rule, operators)
                if on_progress:
                    on_progress(number * steps + step + 1, len(chunks) * steps)
                if on_step:
                    on_step(climb.images)
    except KeyboardInterrupt:
        interrupted = True
    return _join_chunks(climbs, steps, interrupted)


def _images_per_chunk(
    model: nn.Module, objective: Objective, space: Space, memory_limit: int
) -> int:
    """Images per chunk so that the outputs of the layers that run fit into the cap."""
    if len(space) < 1:
        raise InputError("no image to optimise; give at least one unit")
    if not objective.layers:
        return len(space)
    with torch.no_grad():
        one = space.decode(*(p.detach()[:1] for p in space.parameters))
    fits = batch_that_fits(model, one, objective.layers, memory_limit)
    return max(objective.group, fits // objective.group * objective.group)


def batch_that_fits(model: nn.Module, one: Images, layers: Sequence[str], memory_limit: int) -> int:
    """Return how many images go forward and back between input and layers within the memory.

    Args:
        model: any network.
        one: one image of the size to come.
        layers: dotted names or aliases; the deepest counts.
        memory_limit: in bytes.
    """
    bytes_each = 0

    def count(name: str, module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal bytes_each
        if isinstance(output, Tensor) and not any(True for _ in module.children()):
            bytes_each += output.numel() * output.element_size()

    with torch.no_grad():
        hooks.activations(model, one, layers)  # a first pass may count calls in a pass of its own
        with hooks.hooked(model.named_modules(), count):
            hooks.activations(model, one, layers)
    return max(1, int(memory_limit / (COPIES_KEPT * max(bytes_each, one.numel() * 4))))
