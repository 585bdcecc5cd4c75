"""Arguments of an ascent: the phase to run, options, and an objective to monitor."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import Tensor

from ..backward.relu_rules import ReluRule, relu_rule
from ..errors import InputError
from ..types import Float
from .objective import Objective
from .optimizers import UpdateRule
from .transforms import Operator, Transform

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Phase:
    """A number of ascent steps of one kind.

    Attributes:
        steps: ascent steps.
        optimizer: the update rule, see `optimizers`.
        transform: applied to the images before the network sees them.
        operators: applied to the pixels after each step, in pixel spaces.
        relu_rule: backward rule of ReLUs: a name in `RELU_RULES`, or a function.
        relu_rule_steps: number of first steps with this rule, before the plain gradient; None for
            all.
        enlarge: factor by which the center of the images is enlarged before this phase.
        for_steps: function that builds this phase for another number of steps; needed if more than
            `steps` changes.
    """

    steps: int
    optimizer: UpdateRule
    transform: Transform | None = None
    operators: Sequence[Operator] = ()
    relu_rule: str | ReluRule = "gradient"
    relu_rule_steps: int | None = None
    enlarge: float = 1.0
    for_steps: "Callable[[int], Phase] | None" = None

    def backward_rule(self, step: int) -> AbstractContextManager[None]:
        """Return a context manager in which forward passes use this step's backward rule."""
        early = self.relu_rule_steps is None or step < self.relu_rule_steps
        changed = early and self.relu_rule != "gradient"
        return relu_rule(self.relu_rule) if changed else nullcontext()


@dataclass(frozen=True)
class Options:
    """Options of an ascent that do not change what is optimized.

    Attributes:
        seed: seed of random starts and transformations.
        seeds: seed of each image's random start; None for `seed` in all of them.
        memory_limit: bytes that a forward and backward pass may take; larger batches are split.
        snapshots: steps before which all images are recorded.
        on_progress: called after each step with (steps done, total steps), summed over all chunks.
        on_step: called after each step with the images of the current chunk, which it must not
            change.
        should_stop: called before each step; if it returns True, the ascent ends.
    """

    seed: int = 0
    seeds: Sequence[int] | None = None
    memory_limit: int = 3 * GIBIBYTE // 4
    snapshots: Sequence[int] = ()
    on_progress: Callable[[int, int], None] | None = None
    on_step: Callable[[Tensor], None] | None = None
    should_stop: Callable[[], bool] | None = None

    def start_seeds(self, count: int) -> list[int]:
        """Return the seed of each image's random start.

        Raises:
            InputError: the number of `seeds` differs from `count`.
        """
        seeds = [self.seed] * count if self.seeds is None else list(self.seeds)
        if len(seeds) != count:
            raise InputError(f"{len(seeds)} seeds for {count} images: expected one for each")
        return seeds


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True)
class Monitor:
    """A second objective on the same layers, recorded at each step but not optimized.

    Attributes:
        objective: the objective to record.
        stop_below: per image, the value below which it is finished: it then does not change any
            more and leaves the batch. None for never.
    """

    objective: Objective
    stop_below: Float[Tensor, " n"] | None = None
