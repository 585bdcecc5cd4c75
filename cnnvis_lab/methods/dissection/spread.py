"""Both passes of a dissection with their batches shared among other processes.

Every process opens the same network and images. What it finds in a part of the batches is small,
and is merged here in any order; the thresholds between the passes are computed here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...core import tasks
from ...core.statistics import Quantiles, TopK
from .conventions import Convention
from .counts import Counts
from .passes import OnProgress, count_pass, threshold_pass
from .plan import LabelledData, Plan, make_plan
from .thresholds import estimate_floors, inexact_layers, sample_batches
from .workspace import Workspace, pack, unpack

PART = 4  # batches of a task
Arrays = dict[str, np.ndarray]  # what a task is given and returns; plain bytes wherever it runs


@dataclass(frozen=True)
class Spread:
    """Other processes that share the batches of a dissection.

    Attributes:
        executor: runs tasks in any order; they must not share this process.
        open_subject: returns the network and the images in the process that runs a task; can be
            pickled, and is equal to its copies.
    """

    executor: Executor
    open_subject: Callable[[], tuple[nn.Module, LabelledData]]


class _Settings(NamedTuple):
    """What a task needs to know to make the same plan."""

    layers: tuple[str, ...]
    convention: Convention
    batch: int
    top: int
    threads: int


@lru_cache(maxsize=2)
def _open_plan(open_subject: Callable, settings: _Settings) -> Plan:
    model, data = open_subject()
    layers, convention, batch, top, _ = settings
    return make_plan(model, data, layers, convention=convention, batch=batch, top=top)


def _find_quantiles(
    open_subject: Callable, settings: _Settings, numbers: Sequence[int], floors: Arrays, exact: bool
) -> Arrays:
    """Run the first pass over some batches, in the process that was chosen for them."""
    torch.set_num_threads(settings.threads)  # tasks of another dissection may have changed it
    plan = _open_plan(open_subject, settings)
    found = threshold_pass(plan, numbers, exact=exact, floors=_to_tensors(floors))
    return _to_arrays(pack(*found))


def _count(
    open_subject: Callable, settings: _Settings, numbers: Sequence[int], thresholds: Arrays
) -> Arrays:
    """Run the second pass over some batches, in the process that was chosen for them."""
    torch.set_num_threads(settings.threads)
    plan = _open_plan(open_subject, settings)
    return _to_arrays(count_pass(plan, _to_tensors(thresholds), numbers).sums)


class _Pass:
    """A pass whose batches are shared: what they gave, and which of them are done."""

    def __init__(
        self,
        plan: Plan,
        name: str,
        merge: Callable[[dict[str, Tensor]], None],
        state: Callable[[], Mapping[str, Tensor]],
        workspace: Workspace,
        report: Callable[[int], None],
    ) -> None:
        self.plan, self.name, self.merge, self.state = plan, name, merge, state
        self.workspace, self.report = workspace, report
        self.done, found = workspace.restore_part(name)
        if found:
            merge(found)

    def run(
        self, spread: Spread, task: Callable, batches: Iterable[int], size: int, *given: object
    ) -> None:
        """Run the batches that are not done, `size` in a task, and merge what they give."""
        settings = _Settings(
            self.plan.layers, self.plan.convention, self.plan.batch, self.plan.top,
            torch.get_num_threads(),
        )  # fmt: skip
        missing = [number for number in batches if number not in self.done]
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        waiting = {
            spread.executor.submit(task, spread.open_subject, settings, part, *given): part
            for part in parts
        }
        try:
            for count, (part, found) in enumerate(tasks.completed(waiting, self._describe), 1):
                self.merge(_to_tensors(found))
                self.done.update(part)
                self.report(sum(len(self.plan.batches[number]) for number in self.done))
                if count % Workspace.EVERY == 0:
                    self._save()
        finally:  # also of a cluster that was lost
            self._save()

    def _save(self) -> None:
        if self.done:
            self.workspace.save_part(self.name, self.done, self.state())

    def _describe(self, part: Sequence[int]) -> str:
        return f"{' '.join(self.plan.layers)}, batches {part[0]} to {part[-1]}"


def spread_threshold_pass(
    plan: Plan,
    spread: Spread,
    workspace: Workspace,
    on_progress: OnProgress | None,
    *,
    exact: bool = False,
) -> tuple[dict[str, Quantiles], dict[str, TopK]]:
    """Accumulate quantiles and top-activating images as `threshold_pass` does, elsewhere.

    Layers whose floors are too high are counted again without, so that thresholds are exact.

    Args:
        plan: see `make_plan`.
        spread: where tasks run.
        workspace: for the state to resume from.
        on_progress: called with (images done, total images), counted over both passes.
        exact: set no floors.
    """
    quantiles = {layer: Quantiles() for layer in plan.layers}
    tops = {layer: TopK(max(plan.top, 1)) for layer in plan.layers}
    first = _Pass(
        plan,
        "first-exact" if exact else "first-spread",
        lambda found: unpack(found, quantiles, tops),
        lambda: pack(quantiles, tops),
        workspace,
        _reporter(plan, on_progress, 0),
    )
    batches = range(len(plan.batches))
    sample = batches if exact else batches[: sample_batches(plan)]
    first.run(spread, _find_quantiles, sample, PART if exact else 1, {}, True)
    floors = {} if exact else _to_arrays(estimate_floors(plan, quantiles))
    first.run(spread, _find_quantiles, batches, PART, floors, False)
    if not exact and (inexact := inexact_layers(plan, quantiles)):
        part = replace(plan, layers=inexact, top=0)
        quantiles |= spread_threshold_pass(part, spread, workspace, None, exact=True)[0]
    return quantiles, tops


def spread_count_pass(
    plan: Plan,
    spread: Spread,
    thresholds: Mapping[str, Tensor],
    workspace: Workspace,
    on_progress: OnProgress | None,
) -> Counts:
    """Compare masks with labels as `count_pass` does, elsewhere.

    Args:
        plan: see `make_plan`.
        spread: where tasks run.
        thresholds: layer -> (units,) thresholds, of the whole dataset.
        workspace: for the state to resume from.
        on_progress: as in `spread_threshold_pass`.
    """
    counts = plan.empty_counts()

    def merge(found: dict[str, Tensor]) -> None:
        for name, value in found.items():
            counts.sums[name] += value

    second = _Pass(
        plan,
        "second-spread",
        merge,
        lambda: counts.sums,
        workspace,
        _reporter(plan, on_progress, len(plan.data)),
    )
    second.run(spread, _count, range(len(plan.batches)), PART, _to_arrays(thresholds))
    return counts


def _reporter(plan: Plan, on_progress: OnProgress | None, before: int) -> Callable[[int], None]:
    total = 2 * len(plan.data)
    return lambda images: on_progress(before + images, total) if on_progress else None


def _to_arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _to_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in arrays.items()}
