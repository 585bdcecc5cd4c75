"""Both passes of a dissection with their batches shared among other processes.

Every process opens the same network and images. What it finds in a part of the batches is small,
and is merged here in any order; the thresholds between the passes are computed here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core import tasks
from ...core.statistics import Quantiles, TopK
from .conventions import Convention
from .counts import Counts
from .passes import OnProgress, count_pass, threshold_pass
from .plan import Plan, make_plan
from .thresholds import estimate_floors, inexact_layers, sample_batches
from .workspace import Workspace, pack, unpack

PART = 4  # batches of a task at first; towards the end fewer, so that workers end together
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Spread:
    """Other processes that share the batches of a dissection.

    Attributes:
        executor: runs tasks in any order; they must not share this process.
        open_subject: returns the network and the images in the process that runs a task; can be
            pickled, and is equal to its copies.
        find_folder: returns a folder that the processes of a machine share while the dissection
            runs, for what the first pass caches for the second; empty for no cache.
    """

    executor: Executor
    open_subject: Callable[[], tuple[Any, Any]]
    find_folder: Callable[[], str] = str

    def run_parts(
        self,
        task: Callable[..., Tensors],
        parts: Iterable[Sequence[int]],
        *given: object,
        describe: Callable[[Sequence[int]], str],
    ) -> Iterator[tuple[Sequence[int], dict[str, Tensor]]]:
        """Run a task for every part, and yield the parts with their results, as they end.

        Args:
            task: called as `task(open_subject, part, *given)` in the process that runs it, with as
                many threads as here; returns small tensors by name.
            parts: such as the numbers of batches.
            given: dictionaries of tensors, and whatever can be pickled.
            describe: returns a part in words, for errors.
        """
        # Arrays are plain bytes wherever they go; torch would share the memory of tensors.
        arguments = [_to_arrays(one) if isinstance(one, Mapping) else one for one in given]
        call = torch.get_num_threads(), task, self.open_subject
        waiting = {self.executor.submit(_run, *call, part, arguments): part for part in parts}
        for part, found in tasks.completed(waiting, describe):
            yield part, _to_tensors(found)


def _run(
    threads: int, task: Callable, open_subject: Callable, part: Sequence[int], arguments: list
) -> dict[str, np.ndarray]:
    """Run a task in the process that was chosen for it."""
    torch.set_num_threads(threads)  # tasks of another command may have changed it
    given = [_to_tensors(one) if isinstance(one, Mapping) else one for one in arguments]
    return _to_arrays(task(open_subject, part, *given))


class _Settings(NamedTuple):
    """What a task needs to know to make the same plan."""

    layers: tuple[str, ...]
    convention: Convention
    batch: int
    top: int


class _Cache(NamedTuple):
    """Where tasks cache cells: a folder of their machine, see `Spread`, and its size in bytes."""

    find_folder: Callable[[], str]
    byte_limit: int

    def open(self, settings: _Settings) -> Workspace | None:
        """Return the workspace of a dissection in this process; None if there is none."""
        folder = self.find_folder()
        if not folder:
            return None
        key = sha256(repr(settings).encode()).hexdigest()[:16]
        return Workspace(Path(folder) / f"cells-{key}", self.byte_limit, persistent=False)


@lru_cache(maxsize=2)
def _open_plan(open_subject: Callable, settings: _Settings) -> Plan:
    model, data = open_subject()
    layers, convention, batch, top = settings
    return make_plan(model, data, layers, convention=convention, batch=batch, top=top)


def _find_quantiles(
    open_subject: Callable,
    numbers: Sequence[int],
    settings: _Settings,
    cache: _Cache,
    floors: Tensors,
    exact: bool,
) -> Tensors:
    """Run the first pass over some batches."""
    plan = _open_plan(open_subject, settings)
    workspace = None if exact else cache.open(settings)
    if workspace:
        workspace.set_floors({**floors})
    return pack(*threshold_pass(plan, numbers, exact=exact, floors=floors, workspace=workspace))


def _count(
    open_subject: Callable,
    numbers: Sequence[int],
    settings: _Settings,
    cache: _Cache,
    thresholds: Tensors,
) -> Tensors:
    """Run the second pass over some batches."""
    plan, workspace = _open_plan(open_subject, settings), cache.open(settings)
    return count_pass(plan, thresholds, numbers, workspace=workspace).sums


class _Pass:
    """A pass whose batches are shared: what they gave, and which of them are done."""

    def __init__(
        self,
        plan: Plan,
        name: str,
        merge: Callable[[dict[str, Tensor]], None],
        state: Callable[[], Mapping[str, Tensor]],
        workspace: Workspace | None,
        report: Callable[[int], None],
    ) -> None:
        self.plan, self.name, self.merge, self.state = plan, name, merge, state
        self.workspace, self.report = workspace, report
        self.done, found = workspace.restore_part(name) if workspace else (set(), {})
        if found:
            merge(found)

    def run(self, spread: Spread, task: Callable, batches: Iterable[int], *given: object) -> None:
        """Run the batches that are not done, some in a task, and merge what they give."""
        plan = self.plan
        settings = _Settings(plan.layers, plan.convention, plan.batch, plan.top)
        cache = _Cache(spread.find_folder, self.workspace.byte_limit if self.workspace else 0)
        missing = [number for number in batches if number not in self.done]
        parts = _divide(missing)
        ended = spread.run_parts(task, parts, settings, cache, *given, describe=self._describe)
        try:
            for count, (part, found) in enumerate(ended, 1):
                self.merge(found)
                self.done.update(part)
                self.report(sum(len(self.plan.batches[number]) for number in self.done))
                if count % Workspace.EVERY == 0:
                    self._save()
        finally:  # also of a cluster that was lost
            self._save()

    def _save(self) -> None:
        if self.done and self.workspace:
            self.workspace.save_part(self.name, self.done, self.state())

    def _describe(self, part: Sequence[int]) -> str:
        return f"{' '.join(self.plan.layers)}, batches {part[0]} to {part[-1]}"


def spread_threshold_pass(
    plan: Plan,
    spread: Spread,
    workspace: Workspace | None = None,
    on_progress: OnProgress | None = None,
    *,
    exact: bool = False,
) -> tuple[dict[str, Quantiles], dict[str, TopK]]:
    """Accumulate quantiles and top-activating images as `threshold_pass` does, elsewhere.

    Layers whose floors are too high are counted again without, so that thresholds are exact.

    Args:
        plan: see `make_plan`.
        spread: where tasks run.
        workspace: for the state to resume from; None to keep none.
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
    first.run(spread, _find_quantiles, sample, {}, True)
    floors = {} if exact else estimate_floors(plan, quantiles)
    first.run(spread, _find_quantiles, batches, floors, False)
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
    second.run(spread, _count, range(len(plan.batches)), thresholds)
    return counts


def _divide(batches: Sequence[int]) -> list[Sequence[int]]:
    """Divide batches into parts, each at most an eighth of what is left."""
    parts, start = [], 0
    while start < len(batches):
        size = max(1, min(PART, (len(batches) - start) // 8))
        parts.append(batches[start : start + size])
        start += size
    return parts


def _reporter(plan: Plan, on_progress: OnProgress | None, before: int) -> Callable[[int], None]:
    total = 2 * len(plan.data)
    return lambda images: on_progress(before + images, total) if on_progress else None


def _to_arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _to_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in arrays.items()}
