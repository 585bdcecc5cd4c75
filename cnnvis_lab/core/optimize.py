"""The one ascent loop: many images at once, each its own, in chunks that fit in memory."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from . import hooks, relu_rules
from .climb import Climb, Rule, Trace, joined, no_gradient
from .errors import InputError
from .imagespace import Space
from .objectives import Objective
from .shapes import Float, Images
from .transforms import Operator, Transform

Rate = float | Callable[[int], float]
Look = Callable[[Tensor], None]
GIBIBYTE = 2**30
# Autograd keeps about one copy of every output and makes one gradient of each; with slack.
COPIES_KEPT = 3


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


def directed(rate: Rate, momentum: float = 0.8) -> Rule:
    """Step along the running mean of each image's gradient directions, whatever their lengths."""

    def rule(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        size = gradient.flatten(1).norm(dim=1).clamp(min=1e-20)
        mean = memory.setdefault("mean", torch.zeros_like(gradient))
        direction = gradient / size.view(-1, *[1] * (gradient.ndim - 1))
        memory["mean"] = momentum * mean + (1 - momentum) * direction
        return _rate(rate, step) * memory["mean"]

    return rule


def per_pixel(rule: Rule) -> Rule:
    """Follow a rule meant for scores summed over pixels, where they are means over pixels."""

    def scaled(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        return rule(parameter, gradient * gradient[0, 0].numel(), step, memory)

    return scaled


def capped(rule: Rule, limit: float) -> Rule:
    """Follow a rule with each image's gradient shortened to a root mean square of `limit`.

    A step size that suits one network can be many times too large for another; this keeps the
    descent from flying off where the slope is steep, and changes nothing elsewhere.
    """

    def cut(parameter: Tensor, gradient: Tensor, step: int, memory: dict) -> Tensor:
        size = gradient.flatten(1).square().mean(1).sqrt().view(-1, *[1] * (gradient.ndim - 1))
        return rule(parameter, gradient * (limit / size.clamp(min=limit)), step, memory)

    return cut


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
    relu_rule: str | relu_rules.ReluRule = "gradient",
    relu_rule_steps: int | None = None,
    seed: int = 0,
    memory: int = GIBIBYTE,
    keep: str = "best",
    snapshots: Sequence[int] = (),
    watch: Objective | None = None,
    enough: Float[Tensor, " n"] | None = None,
    progress: Callable[[int, int], None] | None = None,
    look: Look | None = None,
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
        relu_rule: name in `relu_rules.RELU_RULES`, or a rule, for the backward pass.
        relu_rule_steps: use that rule for the first steps only, then the gradient.
        seed: of the transformations.
        memory: bytes that one forward and backward pass may take; larger batches are cut up.
        keep: "best" scoring image of each, or the "last".
        snapshots: steps at which all images are kept.
        watch: a number of the same layers, noted at each step without being climbed.
        enough: the watched number at which an image is finished; it then stays as it is and
            leaves the batch. None for never.
        progress: called with (steps done, steps in all), over all chunks.
        look: called after each step with the images of the chunk at work, to be looked at only.
        should_stop: asked before each step; True ends the ascent with what there is.

    Returns:
        The trace. KeyboardInterrupt, too, ends with what there is instead of losing it.

    Raises:
        InputError: a score is not finite, or no image has a gradient at the first step.
    """
    if steps < 1 or keep not in ("best", "last"):
        raise InputError(f"{steps} steps, keep {keep!r}: expected at least 1, and best or last")
    if enough is not None and (watch is None or objective.group > 1):
        raise InputError("enough= ends single images; give watch=, and no score of whole groups")
    size = _chunk(model, objective, space, memory)
    chunks = [(i, min(i + size, len(space))) for i in range(0, len(space), size)]
    climbs = [
        Climb(model, objective, space, range(i, j), keep, snapshots, watch, enough)
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
                    raise InputError(no_gradient(objective))
                if not len(climb.space):
                    break
                climb.move(gradients, step, rule, operators)
                if progress:
                    progress(number * steps + step + 1, len(chunks) * steps)
                if look:
                    look(climb.images)
    except KeyboardInterrupt:
        interrupted = True
    return joined(climbs, steps, interrupted)


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
