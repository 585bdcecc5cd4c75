"""Gradient ascent on many images at once, each on its own, in chunks that fit into memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..grad_mode import with_gradients
from ..types import Bool, Float, Images, Int
from .image_space import Space
from .memory import batch_that_fits
from .objective import Objective, evaluate
from .options import DEFAULT_OPTIONS, Monitor, Options, Phase


class NoGradientError(InputError):
    """No image of an ascent has a gradient at its first step: all units are inactive there."""


@dataclass(frozen=True)
class AscentResult:
    """The result of an ascent.

    Attributes:
        images: the last images.
        history: (steps, n) score of every image at every step; NaN once the image is finished or
            the ascent is stopped.
        snapshots: step -> images before that step.
        interrupted: whether the ascent was stopped early.
        monitored: (steps, n) the monitored objective, with NaN as in `history`; no rows without a
            monitor.
        state: the optimized tensors, batch first.
    """

    images: Images
    history: Float[Tensor, "steps n"]
    snapshots: dict[int, Tensor]
    interrupted: bool
    monitored: Float[Tensor, "monitored n"]
    state: tuple[Tensor, ...]


@with_gradients
def ascend(
    model: nn.Module,
    objective: Objective,
    space: Space,
    phase: Phase,
    options: Options = DEFAULT_OPTIONS,
    monitor: Monitor | None = None,
) -> AscentResult:
    """Maximize an objective over a batch of images.

    Args:
        model: any network; its weights get no gradients.
        objective: one score per image.
        space: the tensors to optimize and the images they decode to; left unchanged.
        phase: number and kind of the steps.
        options: seed, memory limit and callbacks.
        monitor: an objective to record, which may finish single images early.

    Returns:
        The images; those reached so far if `should_stop` or a KeyboardInterrupt ended the ascent.

    Raises:
        InputError: a score is not finite.
        NoGradientError: no image has a gradient at the first step.
    """
    if phase.steps < 1:
        raise InputError(f"{phase.steps} steps: expected at least 1")
    if monitor and monitor.stop_below is not None and objective.group > 1:
        raise InputError("stop_below finishes single images; use no objective that groups images")
    size = _images_per_chunk(model, objective, space, options.memory_limit)
    reached = _Reached(len(space))
    chunks = [
        _Chunk(
            objective,
            monitor,
            space,
            reached,
            slice(start, start + size),
            phase.steps,
            options.seed,
        )
        for start in range(0, len(space), size)
    ]
    schedule = [(chunk, step) for chunk in chunks for step in range(phase.steps)]
    interrupted = False
    try:
        for done, (chunk, step) in enumerate(schedule, 1):
            if not len(chunk.rows):  # all images of the chunk are finished
                continue
            if options.should_stop and options.should_stop():
                interrupted = True
                break
            images = chunk.space.images()
            seen = phase.transform(images, chunk.generator) if phase.transform else images
            with phase.backward_rule(step):
                scores = evaluate(chunk.objectives, model, images, chunk.index(), seen)
            unfinished = chunk.record(step, scores)
            if step in options.snapshots:
                chunk.take_snapshot(step)
            gradients = chunk.gradients(scores[0], unfinished)
            if chunk is chunks[-1] and not any(each.has_gradient for each in chunks):
                raise _no_gradient(objective)
            if gradients:
                chunk.update(gradients, step, phase)
                _report(chunk, done, len(schedule), options)
            if step == phase.steps - 1:
                chunk.finish()
    except KeyboardInterrupt:
        interrupted = True
    return _join(chunks, reached, interrupted)


@torch.no_grad()
def unmoved(space: Space, steps: int) -> AscentResult:
    """Return the result of an ascent of units that are inactive on their start, and stay so.

    Args:
        space: the start.
        steps: of the ascent.
    """
    state = tuple(parameter.detach().clone() for parameter in space.parameters)
    none = torch.zeros(0, len(space))
    return AscentResult(
        space.images().clone(), torch.zeros(steps, len(space)), {}, False, none, state
    )


def _report(chunk: "_Chunk", done: int, of: int, options: Options) -> None:
    if options.on_progress:
        options.on_progress(done, of)
    if options.on_step:
        chunk.store()
        options.on_step(chunk.images())


def _no_gradient(objective: Objective) -> NoGradientError:
    layers = ", ".join(objective.layers) or "the image"
    return NoGradientError(
        f"the score of {layers} has no gradient with respect to the image; choose another unit"
    )


class _Reached:
    """What all images have reached: written in place, since images of many units are large.

    Attributes:
        images: of all chunks that were stored.
        state: the tensors that they are decoded from, batch first.
    """

    def __init__(self, count: int) -> None:
        self.images = torch.empty(count, 0)
        self.state: tuple[Tensor, ...] = ()

    def store(self, rows: Tensor, images: Images, state: Sequence[Tensor]) -> None:
        """Write the images of some rows, and what they are decoded from."""
        if not self.images.numel():
            count = len(self.images)
            self.images = images.new_empty(count, *images.shape[1:])
            self.state = tuple(part.new_empty(count, *part.shape[1:]) for part in state)
        self.images[rows] = images
        for stored, part in zip(self.state, state, strict=True):
            stored[rows] = part


class _Chunk:
    """Images that are optimized together, and the record of their ascent.

    Attributes:
        objectives: the one that is optimized, and the monitored one.
        rows: rows of the unfinished images within the chunk.
        generator: draws the transformations.
        states: state of the update rule, per optimized tensor.
        history: (steps, n) score of every image of the chunk; NaN where it was not evaluated.
        monitored: the same for the monitored objective.
        snapshots: step -> images before it.
        has_gradient: whether any image has had a gradient so far, or was finished without one.
    """

    def __init__(
        self,
        objective: Objective,
        monitor: Monitor | None,
        space: Space,
        reached: _Reached,
        part: slice,
        steps: int,
        seed: int,
    ) -> None:
        self.objectives = [objective, monitor.objective] if monitor else [objective]
        self.stop_below = None
        if monitor and monitor.stop_below is not None:
            self.stop_below = monitor.stop_below[part]
        self._whole, self._reached, self._part, self.start = space, reached, part, part.start
        self.rows = torch.arange(len(range(len(space))[part]))
        self.generator = torch.Generator().manual_seed(seed)
        self.states: list[dict] = [{} for _ in space.parameters]
        self.history = torch.full((steps, len(self.rows)), torch.nan)
        self.monitored = torch.full((steps if monitor else 0, len(self.rows)), torch.nan)
        self.snapshots: dict[int, Tensor] = {}
        self.has_gradient = False

    @cached_property
    def space(self) -> Space:
        """The images that are not finished."""
        return self._whole.select(self._part)

    def index(self) -> Int[Tensor, " unfinished"]:
        """Return the unfinished images' positions in the batch."""
        return (self.start + self.rows).to(self.space.parameters[0].device)

    def record(self, step: int, scores: Sequence[Tensor]) -> Bool[Tensor, " unfinished"]:
        """Record the scores before a step; return which images the monitor leaves unfinished."""
        score, *monitored = (values.detach().float().cpu() for values in scores)
        if not torch.isfinite(score).all():
            bad = int((~torch.isfinite(score)).nonzero()[0])
            layers = ", ".join(self.objectives[0].layers) or "the image"
            raise InputError(
                f"the score of image {self.start + int(self.rows[bad])} on {layers} became "
                f"{float(score[bad])} at step {step}; use a smaller step size or check the weights"
            )
        self.history[step, self.rows] = score
        for values in monitored:
            self.monitored[step, self.rows] = values
        if self.stop_below is None:
            return torch.ones(len(self.rows), dtype=torch.bool)
        return monitored[0] > self.stop_below[self.rows]

    def gradients(
        self, score: Float[Tensor, " n"], unfinished: Bool[Tensor, " n"]
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the unfinished images' scores; drop the finished images."""
        gradients: tuple[Tensor, ...] = ()
        if unfinished.any():
            gradients = self._gradients(score[unfinished.to(score.device)].sum())
        if unfinished.all():
            self.has_gradient = self.has_gradient or any(bool(g.any()) for g in gradients)
            return gradients
        self.has_gradient = True
        self._drop_finished(unfinished)
        return tuple(gradient[unfinished.to(gradient.device)] for gradient in gradients)

    def _gradients(self, score: Float[Tensor, ""]) -> tuple[Tensor, ...]:
        parameters, gradients = self.space.parameters, ()
        if score.requires_grad:
            gradients = torch.autograd.grad(score, parameters, allow_unused=True)
        present = tuple(gradient for gradient in gradients if gradient is not None)
        if len(present) < len(parameters):
            raise _no_gradient(self.objectives[0])
        return present

    def _drop_finished(self, unfinished: Bool[Tensor, " n"]) -> None:
        self.store()
        for state in self.states:
            for name, value in state.items():
                if isinstance(value, Tensor) and len(value) == len(unfinished):
                    state[name] = value[unfinished.to(value.device)]
        self.rows, self.space = self.rows[unfinished], self.space.select(unfinished)

    def finish(self) -> None:
        """Keep the results only, and free the memory that further steps would need."""
        self._drop_finished(torch.zeros(len(self.rows), dtype=torch.bool))

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor], step: int, phase: Phase) -> None:
        """Take one step; then apply the operators and the bounds of the space."""
        for parameter, gradient, state in zip(
            self.space.parameters, gradients, self.states, strict=True
        ):
            parameter += phase.optimizer(parameter, gradient, step, state)
        for operator in phase.operators:
            pixels = self.space.parameters[0]
            pixels.copy_(operator(pixels, gradients[0], step))
        if self.space.project:
            self.space.project(*self.space.parameters)

    @torch.no_grad()
    def store(self) -> None:
        """Write the unfinished images, and what they are decoded from, where all are kept."""
        if len(self.rows):
            self._reached.store(self.index(), self.space.images(), self.space.parameters)

    def images(self) -> Images:
        """Return the images of the whole chunk, as of the last `store`."""
        return self._reached.images[self._part]

    def take_snapshot(self, step: int) -> None:
        """Record the current state of all images."""
        self.store()
        self.snapshots[step] = self.images().clone()


def _join(chunks: Sequence[_Chunk], reached: _Reached, interrupted: bool) -> AscentResult:
    for chunk in chunks:
        chunk.store()
    steps = set.intersection(*(set(chunk.snapshots) for chunk in chunks))
    return AscentResult(
        reached.images,
        torch.cat([chunk.history for chunk in chunks], 1),
        {step: torch.cat([chunk.snapshots[step] for chunk in chunks]) for step in sorted(steps)},
        interrupted,
        torch.cat([chunk.monitored for chunk in chunks], 1),
        reached.state,
    )


def _images_per_chunk(
    model: nn.Module, objective: Objective, space: Space, memory_limit: int
) -> int:
    """Return how many images fit into memory, in whole groups of images scored together."""
    if len(space) < 1:
        raise InputError("no image to optimize; give at least one unit")
    if not objective.layers:
        return len(space)
    with torch.no_grad():
        one = space.decode(*(p.detach()[:1] for p in space.parameters))
    fits = batch_that_fits(model, one, objective.layers, memory_limit)
    return max(objective.group, fits // objective.group * objective.group)
