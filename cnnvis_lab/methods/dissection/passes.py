"""The two passes over the data: estimate activation thresholds, then compare masks with labels.

A pass prepares a batch (`begin`), processes the maps of its layers (`consume`) and adds the batch
to its results (`end`); `resume` is called at the beginning, and `checkpoint` when no batch is in
progress. Two batches are processed concurrently, each in its own thread. Accumulators contain only
integers and maxima, so that results do not depend on the order of batches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.statistics import Quantiles, TopK
from .counts import Counts, GroundTruth, ground_truth
from .grid import units_last, upsample
from .masks import ActiveCells, active_pixels, cells_above, values_above
from .plan import Plan
from .thresholds import estimate_floors, inexact_layers, sample_batches
from .workspace import Workspace

OnProgress = Callable[[int, int], None]
CONCURRENT_BATCHES = 2


@dataclass(kw_only=True)
class _Batch:
    """A batch in the first pass.

    Attributes:
        number: number of the batch.
        indices: indices of its images.
        cells: layer -> its cells above the floor.
    """

    number: int
    indices: list[int]
    cells: dict[str, ActiveCells] = field(default_factory=dict)


@dataclass(kw_only=True)
class _CountedBatch(_Batch):
    """A batch in the second pass.

    Attributes:
        truth: the concepts in its images.
        counts: pixel counts of this batch.
    """

    truth: GroundTruth
    counts: Counts


class ThresholdPass:
    """The first pass: quantiles of activations, top-activating images, and cells to cache.

    After a sample of the images, floors are set below which thresholds are unlikely to lie; from
    then on, only values above the floors are examined.

    Attributes:
        plan: what is dissected.
        workspace: caches cells for the second pass, and the state to resume from.
        exact: whether to set no floors.
        floors: layer -> level of each unit; empty until the sample is complete.
        quantiles: layer -> quantiles of each unit's activations.
        tops: layer -> the top-activating images of each unit.
    """

    def __init__(
        self,
        plan: Plan,
        workspace: Workspace | None,
        exact: bool = False,
        floors: Mapping[str, Tensor] = {},
    ) -> None:
        self.plan, self.workspace, self.exact = plan, workspace, exact
        self.quantiles = {layer: Quantiles() for layer in plan.layers}
        self.tops = {layer: TopK(max(plan.top, 1)) for layer in plan.layers}
        self.floors: dict[str, Tensor] = {**floors}
        self.images_before, self.sample = 0, sample_batches(plan)
        self._locks = {layer: Lock() for layer in plan.layers}
        self._caches_cells = workspace is not None and workspace.byte_limit > 0
        self._raise_floors()

    def resume(self) -> int:
        """Restore the state of an interrupted pass; return the number of finished batches."""
        if self.workspace is None:
            return 0
        done = self.workspace.restore_threshold_pass(self.quantiles, self.tops)
        self.floors = self.workspace.floors()
        if not done:
            self._raise_floors()
        return done

    def begin(self, number: int) -> tuple[_Batch, bool]:
        """Return a batch, and True because the network has to run on it."""
        return _Batch(number=number, indices=self.plan.batches[number]), True

    def consume(self, batch: _Batch, layer: str, maps: Tensor) -> None:
        """Process the maps of one layer; several threads may call this.

        Args:
            batch: the batch that the maps belong to.
            layer: a layer of the plan.
            maps: (n, units, h, w) its activations.
        """
        quantiles, floor, lock = self.quantiles[layer], self.floors.get(layer), self._locks[layer]
        upsampled, grid = self.plan.convention.upsampled, self.plan.grids[layer]
        if self.plan.top:
            with lock:
                self.tops[layer].update(maps, torch.tensor(batch.indices))
        if upsampled or floor is None:
            values = upsample(maps, grid) if upsampled else maps
            with lock:
                quantiles.update(values, torch.empty(0))
        if floor is None or (upsampled and not self._caches_cells):
            return
        values, level = units_last(maps), floor.numpy()
        if self._caches_cells:
            batch.cells[layer] = cells_above(values, level)
        if not upsampled:
            cells = batch.cells.get(layer)
            above = values_above(cells, grid, level) if cells else _dense_above(values, level)
            lowest = values.min((0, 1, 2))
            with lock:
                quantiles.update_above(*above, values[..., 0].size, lowest)

    def end(self, batch: _Batch) -> None:
        """Cache the cells of a batch."""
        if batch.cells and self.workspace is not None:
            self.workspace.save_cells(batch.number, batch.cells)

    def checkpoint(self, done: int) -> None:
        """Set floors if the sample is complete, and write the state."""
        if not (self.floors or self.exact) and done >= self.sample:
            self.floors = estimate_floors(self.plan, self.quantiles)
            self._raise_floors()
            if self.workspace is not None:
                self.workspace.set_floors(self.floors)
        if self.workspace is not None:
            self.workspace.save_threshold_pass(done, self.quantiles, self.tops)

    def _raise_floors(self) -> None:
        for layer, floor in {} if self.plan.convention.upsampled else self.floors.items():
            self.quantiles[layer].raise_floor(floor)


def _dense_above(values: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (units, values) of all positions above the level of their unit."""
    index = np.flatnonzero(values > level)
    return index % len(level), values.reshape(-1).take(index)


class CountPass:
    """The second pass: compare masks with labels.

    Attributes:
        plan: what is dissected.
        thresholds: layer -> (units,) thresholds, of the whole dataset.
        workspace: cells that the first pass cached, and the state to resume from.
        counts: of all batches so far.
    """

    def __init__(
        self, plan: Plan, thresholds: Mapping[str, Tensor], workspace: Workspace | None
    ) -> None:
        self.plan, self.workspace = plan, workspace
        self.thresholds = {layer: thresholds[layer].numpy() for layer in plan.layers}
        self.counts = plan.empty_counts()
        self.images_before, self.sample = len(plan.data), 0
        self._merging = Lock()
        floors = workspace.floors() if workspace else {}
        self._cached = [name for name in floors if (floors[name] <= thresholds[name]).all()]

    def resume(self) -> int:
        """Restore the state of an interrupted pass; return the number of finished batches."""
        return self.workspace.restore_count_pass(self.counts) if self.workspace else 0

    def begin(self, number: int) -> tuple[_CountedBatch, bool]:
        """Count labels and cached cells; return whether the network has to run as well."""
        indices, counts = self.plan.batches[number], self.plan.empty_counts()
        truth = ground_truth(self.plan.labels(indices).numpy(), counts.numbers)
        counts.add_truth(truth)
        cells = self.workspace.load_cells(number, self._cached) if self.workspace else {}
        batch = _CountedBatch(
            number=number, indices=indices, cells=cells, truth=truth, counts=counts
        )
        for layer in cells:
            self._count(batch, layer, cells[layer])
        return batch, len(cells) < len(self.plan.layers)

    def consume(self, batch: _CountedBatch, layer: str, maps: Tensor) -> None:
        """Count the masks of one layer, unless its cells were cached.

        Args:
            batch: the batch that the maps belong to.
            layer: a layer of the plan.
            maps: (n, units, h, w) its activations.
        """
        if layer not in batch.cells:
            self._count(batch, layer, cells_above(units_last(maps), self.thresholds[layer]))

    def _count(self, batch: _CountedBatch, layer: str, cells: ActiveCells) -> None:
        grid, binary = self.plan.grids[layer], self.plan.convention.binary
        chunks = active_pixels(cells, grid, self.thresholds[layer], binary=binary)
        batch.counts.add_masks(layer, chunks, batch.truth)

    def end(self, batch: _CountedBatch) -> None:
        """Add the counts of a batch."""
        with self._merging:
            self.counts.merge(batch.counts)

    def checkpoint(self, done: int) -> None:
        """Write the state."""
        if self.workspace is not None:
            self.workspace.save_count_pass(done, self.counts)


def _run(
    consumer: ThresholdPass | CountPass,
    batches: Iterable[int] | None,
    on_progress: OnProgress | None,
) -> None:
    """Run all batches, or the given ones, through a pass."""
    plan, done = consumer.plan, consumer.resume()
    numbers = range(len(plan.batches)) if batches is None else batches
    images, total = len(plan.data), 2 * len(plan.data)
    with plan.forward_passes(plan.layers) as forward, _thread_pool() as pool:
        for group in _groups(list(enumerate(numbers, 1))[done:], consumer.sample):
            jobs = [pool.submit(_process, consumer, forward, number) for _, number in group]
            try:
                for (step, _), job in zip(group, jobs, strict=True):
                    job.result()
                    if on_progress:
                        on_progress(consumer.images_before + min(step * plan.batch, images), total)
            finally:
                for job in jobs:  # after an exception, some of them still wait
                    job.cancel()
            consumer.checkpoint(group[-1][0])


def _process(consumer: ThresholdPass | CountPass, forward: Callable, number: int) -> None:
    begun: tuple[Any, bool] = consumer.begin(number)  # each pass has its own type of batch
    batch, needs_network = begun
    if needs_network:
        forward(batch.indices, partial(consumer.consume, batch))
    consumer.end(batch)


def _groups(numbered: list[tuple[int, int]], sample: int) -> Iterator[list[tuple[int, int]]]:
    """Split (step, batch number) pairs where the sample is complete and where checkpoints are due.

    Args:
        numbered: the pairs; steps count from 1.
        sample: number of batches in the sample.
    """

    def key(pair: tuple[int, int]) -> tuple[bool, int]:
        return pair[0] > sample, (pair[0] - 1) // Workspace.EVERY

    for _, group in groupby(numbered, key):
        yield list(group)


@contextmanager
def _thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield an executor whose threads divide torch's threads among them; wait for pending work."""
    threads = torch.get_num_threads()
    workers = min(CONCURRENT_BATCHES, threads)
    pool = ThreadPoolExecutor(workers, "pass", torch.set_num_threads, (threads // workers,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def threshold_pass(
    plan: Plan,
    batches: Iterable[int] | None = None,
    *,
    exact: bool = False,
    floors: Mapping[str, Tensor] = {},
    workspace: Workspace | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[dict[str, Quantiles], dict[str, TopK]]:
    """Accumulate quantiles and top-activating images; results for parts of the data can be merged.

    Args:
        plan: see `make_plan`.
        batches: numbers of the batches to use; None for all.
        exact: count all activations individually, even those far below any likely threshold.
        floors: levels of a sample of the data that was used before, see `estimate_floors`.
        workspace: caches cells for the second pass, and the state to resume from.
        on_progress: called with (images done, total images), counted over both passes.
    """
    first = ThresholdPass(plan, workspace, exact, floors)
    _run(first, batches, on_progress)
    return first.quantiles, first.tops


def estimate_thresholds(plan: Plan, quantiles: Mapping[str, Quantiles]) -> dict[str, Tensor]:
    """Return layer -> (units,) thresholds, exceeded by the convention's fraction of activations.

    If the floor of a unit was too high, the activations of its layer are counted again without
    floors.
    """
    fraction = 1 - plan.convention.quantile
    if inexact := inexact_layers(plan, quantiles):
        again, _ = threshold_pass(replace(plan, layers=inexact, top=0), exact=True)
        quantiles = {**quantiles, **again}
    return {layer: quantiles[layer].at(fraction) for layer in plan.layers}


def count_pass(
    plan: Plan,
    thresholds: Mapping[str, Tensor],
    batches: Iterable[int] | None = None,
    *,
    workspace: Workspace | None = None,
    on_progress: OnProgress | None = None,
) -> Counts:
    """Compare masks with labels; counts for parts of the data can be merged.

    Args:
        plan: see `make_plan`.
        thresholds: layer -> (units,) thresholds, of the whole dataset.
        batches: numbers of the batches to use; None for all.
        workspace: cells that the first pass cached, and the state to resume from.
        on_progress: as in `threshold_pass`.
    """
    second = CountPass(plan, thresholds, workspace)
    _run(second, batches, on_progress)
    return second.counts
