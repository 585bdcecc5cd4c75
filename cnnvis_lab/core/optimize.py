"""The one ascent loop: many images at once, each its own, in chunks that fit in memory."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import hooks
from .errors import InputError
from .imagespace import Space
from .objectives import Objective, scores
from .shapes import Float, Images, Int
from .transforms import Operator, Transform

Rate = float | Callable[[int], float]
# (parameter, its gradient, step, what this optimiser remembers) -> change of the parameter
Rule = Callable[[Tensor, Tensor, int, dict], Tensor]
GIBIBYTE = 2**30
# Autograd keeps about one copy of every output and makes one gradient of each; with slack.
COPIES_KEPT = 3


@dataclass(frozen=True)
class Trace:
    """What an ascent gave.

    Attributes:
        images: the best or the last images, as asked.
        history: score of every image at every step, (steps, n); NaN after an interruption.
        best_step: at which step each image scored best.
        snapshots: step -> images at that step, before it.
        interrupted: whether it was stopped early.
    """

    images: Images
    history: Float[Tensor, "steps n"]
    best_step: Int[Tensor, " n"]
    snapshots: dict[int, Tensor]
    interrupted: bool


def _rate(rate: Rate, step: int) -> float:
    return rate(step) if callable(rate) else rate


def adam(rate: Rate = 0.05, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Rule:
    """Adam (Kingma and Ba 2015); every number moves by itself, so images stay independent."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        mean = memory.setdefault("mean", torch.zeros_like(parameter))
        square = memory.setdefault("square", torch.zeros_like(parameter))
        mean.lerp_(gradient, 1 - betas[0])
        square.lerp_(gradient * gradient, 1 - betas[1])
        unbiased = (square / (1 - betas[1] ** (step + 1))).sqrt_().add_(eps)
        return _rate(rate, step) / (1 - betas[0] ** (step + 1)) * mean / unbiased

    return rule


def sgd(rate: Rate, momentum: float = 0.0, *, forget_on_change: bool = False) -> Rule:
    """Gradient ascent with momentum; it can forget its momentum whenever the rate changes."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        now = _rate(rate, step)
        if "speed" not in memory or (forget_on_change and memory["rate"] != now):
            memory["speed"] = torch.zeros_like(parameter)
        memory["rate"] = now
        memory["speed"].mul_(momentum).add_(gradient, alpha=now)
        return memory["speed"].clone()

    return rule


def normalised(rate: Rate) -> Rule:
    """Step along gradient / mean |gradient| of each image (Nguyen et al. 2016)."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        size = gradient.abs().flatten(1).mean(1).clamp(min=1e-20)
        return _rate(rate, step) * gradient / size.view(-1, *[1] * (gradient.ndim - 1))

    return rule


def per_pixel(rule: Rule) -> Rule:
    """Follow a rule meant for scores summed over pixels, where they are means over pixels."""

    def scaled(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        return rule(parameter, gradient * gradient[0, 0].numel(), step, memory)

    return scaled


def progress(desired: float, highest: float) -> Rule:
    """Step along each image's gradient g so that the score should rise by `desired`.

    Args:
        desired: rise of a linear score in one step.
        highest: largest step size, as a factor of the gradient.

    Source: Yosinski et al. 2015, learning rate policy "progress": min(highest, desired / |g|^2).
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        square = (gradient * gradient).flatten(1).sum(1).clamp(min=1e-30)
        rate = (desired / square).clamp(max=highest)
        return rate.view(-1, *[1] * (gradient.ndim - 1)) * gradient

    return rule


def on_sphere(radius: float, rate: Rate = 0.5) -> Rule:
    """Stay at distance `radius` from gray: step along the gradient, then scale back (Erhan 2009).

    Args:
        radius: norm of (image - gray), over pixels and channels.
        rate: step length as a share of the radius.
    """

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        tail = [1] * (gradient.ndim - 1)
        size = gradient.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *tail)
        moved = parameter.detach() - 0.5 + _rate(rate, step) * radius * gradient / size
        length = moved.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, *tail)
        return 0.5 + radius * moved / length - parameter.detach()

    return rule


def ascend(
    model: nn.Module,
    objective: Objective,
    space: Space,
    *,
    steps: int,
    optimizer: Rule | None = None,
    transform: Transform | None = None,
    operators: Sequence[Operator] = (),
    relu_rule: str | hooks.ReluRule = "gradient",
    relu_rule_steps: int | None = None,
    seed: int = 0,
    memory: int = GIBIBYTE,
    keep: str = "best",
    snapshots: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Trace:
    """Maximise an objective over a batch of images.

    Args:
        model: any network; its weights get no gradients.
        objective: one score per image.
        space: what moves; left as it was.
        steps: how many ascent steps.
        optimizer: a rule of this module; `adam()` by default.
        transform: applied to the images before the network sees them, drawn from `seed`.
        operators: applied to pixels after each step, for pixel spaces.
        relu_rule: name in `hooks.RELU_RULES`, or a rule, for the backward pass.
        relu_rule_steps: use that rule for the first steps only, then the gradient.
        seed: of the transformations.
        memory: bytes that one forward and backward pass may take; larger batches are cut up.
        keep: "best" scoring image of each, or the "last".
        snapshots: steps at which all images are kept.
        progress: called with (steps done, steps in all), over all chunks.
        should_stop: asked before each step; True ends the ascent with what there is.

    Returns:
        The trace. KeyboardInterrupt, too, ends with what there is instead of losing it.

    Raises:
        InputError: a score is not finite, or no image has a gradient at the first step.
    """
    if steps < 1 or keep not in ("best", "last"):
        raise InputError(f"{steps} steps, keep {keep!r}: expected at least 1, and best or last")
    size = _chunk(model, objective, space, memory)
    chunks = [(i, min(i + size, len(space))) for i in range(0, len(space), size)]
    climbs = [
        _Climb(model, objective, space.part(i, j), torch.arange(i, j), keep, snapshots)
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
                ruled = hooks.relu_rule(relu_rule) if early and relu_rule != "gradient" else None
                with ruled or nullcontext():
                    gradients = climb.gradients(step, transform, drawn)
                if climb is climbs[-1] and all(other.silent for other in climbs):
                    raise InputError(_no_gradient(objective))
                climb.move(gradients, step, rule, operators)
                if progress:
                    progress(number * steps + step + 1, len(chunks) * steps)
    except KeyboardInterrupt:
        interrupted = True
    return _joined(climbs, steps, interrupted)


def _no_gradient(objective: Objective) -> str:
    layers = ", ".join(objective.layers) or "the image"
    return f"the score of {layers} has no gradient towards the image; choose another unit"


class _Climb:
    """One chunk on its way up."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        space: Space,
        index: Tensor,
        keep: str,
        snapshots: Sequence[int],
    ) -> None:
        self.model, self.objective, self.space = model, objective, space
        self.index, self.keep = index, keep
        self.memory: list[dict] = [{} for _ in space.parameters]
        self.scores: list[Tensor] = []
        self.best = torch.full((len(space),), -torch.inf)
        self.best_step = torch.zeros(len(space), dtype=torch.int64)
        with torch.no_grad():
            self.images = space.images().clone()
        self.snapshot_steps = frozenset(snapshots)
        self.snapshots: dict[int, Tensor] = {}
        self.silent = True  # whether the first gradient was zero for all its images

    def gradients(
        self, step: int, transform: Transform | None, drawn: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Score the images as they are, note the score, and return the gradient of the state."""
        images = self.space.images()
        seen = transform(images, drawn) if transform else images
        score = scores(self.objective, self.model, images, self.index.to(images.device), seen)
        self._note(step, images.detach(), score.detach().float().cpu())
        if not score.requires_grad:
            raise InputError(_no_gradient(self.objective))
        gradients = torch.autograd.grad(score.sum(), self.space.parameters, allow_unused=True)
        if any(g is None for g in gradients):
            raise InputError(_no_gradient(self.objective))
        if step == 0:
            self.silent = not any(bool(g.any()) for g in gradients)
        return gradients

    def _note(self, step: int, images: Tensor, score: Tensor) -> None:
        if not torch.isfinite(score).all():
            bad = int((~torch.isfinite(score)).nonzero()[0])
            layers = ", ".join(self.objective.layers) or "the image"
            raise InputError(
                f"the score of image {int(self.index[bad])} on {layers} became {float(score[bad])} "
                f"at step {step}; use a smaller step size or check the weights"
            )
        self.scores.append(score)
        better = score > self.best
        self.best[better], self.best_step[better] = score[better], step
        if self.keep == "best":
            self.images[better.to(images.device)] = images[better.to(images.device)]
        if step in self.snapshot_steps:
            self.snapshots[step] = images.clone()

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
            self.images = self.space.images().clone()


def _joined(climbs: list[_Climb], steps: int, interrupted: bool) -> Trace:
    history = torch.full((steps, sum(len(climb.space) for climb in climbs)), torch.nan)
    column = 0
    for climb in climbs:
        if climb.scores:
            done = torch.stack(climb.scores)
            history[: len(done), column : column + done.shape[1]] = done
        column += len(climb.space)
    shared = set.intersection(*(set(climb.snapshots) for climb in climbs))
    return Trace(
        torch.cat([climb.images for climb in climbs]),
        history,
        torch.cat([climb.best_step for climb in climbs]),
        {step: torch.cat([climb.snapshots[step] for climb in climbs]) for step in sorted(shared)},
        interrupted,
    )


def _chunk(model: nn.Module, objective: Objective, space: Space, memory: int) -> int:
    """Images per chunk so that the outputs of the layers that run fit into the cap."""
    if len(space) < 1:
        raise InputError("no image to optimise; give at least one unit")
    if not objective.layers:
        return len(space)
    with torch.no_grad():
        one = space.decode(*(p.detach()[:1] for p in space.parameters))
    fits = images_per_pass(model, one, objective.layers, memory)
    return max(objective.group, fits // objective.group * objective.group)


def images_per_pass(model: nn.Module, one: Images, layers: Sequence[str], memory: int) -> int:
    """Return how many images go forward and back between input and layers within the memory.

    Args:
        model: any network.
        one: one image of the size to come.
        layers: dotted names or aliases; the deepest counts.
        memory: in bytes.
    """
    bytes_each = 0

    def count(module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal bytes_each
        if isinstance(output, Tensor) and not any(True for _ in module.children()):
            bytes_each += output.numel() * output.element_size()

    with torch.no_grad():
        hooks.activations(model, one, layers)  # a first pass may learn the network by a second one
        handles = [module.register_forward_hook(count) for module in model.modules()]
        try:
            hooks.activations(model, one, layers)
        finally:
            for handle in handles:
                handle.remove()
    return max(1, int(memory / (COPIES_KEPT * max(bytes_each, one.numel() * 4))))
