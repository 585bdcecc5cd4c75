"""The two passes over the pictures: what thresholds are told from, then masks against labels.

Two batches are at work at a time, each in a thread of its own: both through the network and through
numpy. All that is gathered are whole numbers and maxima, so that it does not matter who is first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from ...core.statistics import Quantiles, TopK
from .counts import Counts, ground_truth
from .grid import units_last, upsample
from .masks import ActiveCells, active_pixels, cells_above, values_above
from .plan import Plan
from .workspace import Workspace

OnProgress = Callable[[int, int], None]
CONCURRENT_BATCHES = 2  # batches
SAMPLE_IMAGES = 256  # pictures seen before it is told what is worth keeping
FLOOR_MARGIN = (
    3.0  # so many times the share above the thresholds is kept, in case the sample misleads
)


def threshold_pass(
    plan: Plan,
    batches: Iterable[int] | None = None,
    *,
    exact: bool = False,
    store: Workspace | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[dict[str, Quantiles], dict[str, TopK]]:
    """Gather what thresholds and top pictures are told from; merge what parts of the data gave.

    Args:
        plan: see `probe`.
        batches: numbers of the batches to take; None for all.
        exact: keep counting all activations, even those that a sample says lie far too low.
        store: keeps what the second pass can use, and the state to go on from.
        on_progress: called with how many pictures are done, of both passes, and how many there are.
    """
    quantiles, tops = plan.quantiles(), plan.tops()
    done = store.restore_first(quantiles, tops) if store else 0
    floors = store.floors() if store else {}
    if floors and not done:
        _raise_floors(plan, quantiles, floors)
    keeps, locks = bool(store and store.budget), {layer: Lock() for layer in plan.layers}
    sample = -(-SAMPLE_IMAGES // plan.batch)

    def take(number: int) -> None:
        pictures, cells = torch.tensor(plan.batches[number]), {}

        def look(layer: str, maps: Tensor) -> None:
            if plan.top:
                with locks[layer]:
                    tops[layer].update(maps, pictures)
            cells[layer] = _update_quantiles(
                plan, layer, maps, quantiles[layer], floors.get(layer), keeps, locks[layer]
            )

        run(plan.batches[number], look)
        if floors and keeps:
            store.keep(number, cells)

    with plan.running(plan.layers) as run, _thread_pool() as pool:
        for group in _checkpoint_groups(plan.numbered(batches, done), sample):
            for (step, _), _ in zip(group, pool.map(take, [n for _, n in group]), strict=True):
                if on_progress:
                    on_progress(min(step * plan.batch, len(plan.data)), 2 * len(plan.data))
            step = group[-1][0]
            if not (floors or exact) and step >= sample:
                floors = _choose_floors(plan, quantiles, store)
            if store:
                store.save_first(step, quantiles, tops)
    return quantiles, tops


def _checkpoint_groups(
    numbered: list[tuple[int, int]], sample: int
) -> Iterator[list[tuple[int, int]]]:
    """Cut batches up where the sample is whole, and where the state is due to be written."""

    def part(batch: tuple[int, int]) -> tuple[bool, int]:
        return batch[0] > sample, (batch[0] - 1) // Workspace.EVERY

    for _, group in groupby(numbered, part):
        yield list(group)


@contextmanager
def _thread_pool() -> Iterator[ThreadPoolExecutor]:
    """Give threads that share torch's among themselves; what is waiting ends with the block."""
    threads = torch.get_num_threads()
    workers = min(CONCURRENT_BATCHES, threads)
    pool = ThreadPoolExecutor(workers, "pass", torch.set_num_threads, (threads // workers,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _update_quantiles(
    plan: Plan,
    layer: str,
    maps: Tensor,
    quantiles: Quantiles,
    floor: Tensor | None,
    keeps: bool,
    lock: Lock,
) -> ActiveCells | None:
    """Feed a layer's thresholds; return the cells above the floor, where they are to be kept."""
    if plan.convention.upsampled or floor is None:
        seen = upsample(maps, plan.grids[layer]) if plan.convention.upsampled else maps
        with lock:
            quantiles.update(seen, torch.empty(0))
    if floor is None:
        return None
    values, level = units_last(maps), floor.numpy()
    cells = cells_above(values, level) if keeps else None
    if not plan.convention.upsampled:
        above = (
            values_above(cells, plan.grids[layer], level)
            if cells
            else _dense_values_above(values, level)
        )
        lowest = values.min((0, 1, 2))
        with lock:
            quantiles.update_above(*above, values[..., 0].size, lowest)
    return cells


def _dense_values_above(values: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return units and values of what lies above the units' levels."""
    place = np.flatnonzero(values > level)
    return place % len(level), values.reshape(-1).take(place)


def _choose_floors(
    plan: Plan, quantiles: Mapping[str, Quantiles], store: Workspace | None
) -> dict[str, Tensor]:
    """Choose levels that thresholds will hardly fall below; look at what lies above only."""
    share = min(FLOOR_MARGIN * plan.convention.quantile, 0.5)
    floors = {layer: quantiles[layer].at(1 - share) for layer in plan.layers}
    _raise_floors(plan, quantiles, floors)
    return store.set_floors(floors) if store else floors


def _raise_floors(
    plan: Plan, quantiles: Mapping[str, Quantiles], floors: Mapping[str, Tensor]
) -> None:
    for layer in () if plan.convention.upsampled else plan.layers:
        quantiles[layer].raise_floor(floors[layer])


def estimate_thresholds(plan: Plan, quantiles: Mapping[str, Quantiles]) -> dict[str, Tensor]:
    """Return layer -> the activation that a share of `quantile` of each unit's exceeds.

    Where a unit's floor was too high to tell, the layer's activations are counted again.
    """
    share = 1 - plan.convention.quantile
    doubtful = [layer for layer in plan.layers if not quantiles[layer].is_exact(share).all()]
    again = {}
    if doubtful:
        again = threshold_pass(replace(plan, layers=tuple(doubtful), top=0), exact=True)[0]
    return {layer: {**quantiles, **again}[layer].at(share) for layer in plan.layers}


def count_pass(
    plan: Plan,
    thresholds: Mapping[str, Tensor],
    batches: Iterable[int] | None = None,
    *,
    store: Workspace | None = None,
    on_progress: OnProgress | None = None,
) -> Counts:
    """Count masks against labels; merge what parts of the data gave.

    Args:
        plan: see `probe`.
        thresholds: layer -> (units,), of the whole data set.
        batches: numbers of the batches to take; None for all.
        store: what the first pass kept, and the state to go on from.
        on_progress: as in `first_pass`.
    """
    counts = plan.counts()
    done = store.restore_second(counts) if store else 0
    floors = store.floors() if store else {}
    usable = [name for name in floors if (floors[name] <= thresholds[name]).all()]

    def take(number: int) -> Counts:
        found, pictures = plan.counts(), plan.batches[number]
        shown = ground_truth(plan.labels(pictures).numpy(), found.numbers)
        found.add_truth(shown)

        def count(layer: str, cells: ActiveCells) -> None:
            level = thresholds[layer].numpy()
            parts = active_pixels(cells, plan.grids[layer], level, binary=plan.convention.binary)
            found.add_masks(layer, parts, shown)

        def look(layer: str, maps: Tensor) -> None:
            if layer not in kept:
                count(layer, cells_above(units_last(maps), thresholds[layer].numpy()))

        kept = store.kept(number, usable) if usable else {}
        for layer, cells in kept.items():
            count(layer, cells)
        if len(kept) < len(plan.layers):
            run(pictures, look)
        return found

    with plan.running(plan.layers) as run, _thread_pool() as pool:
        for group in _checkpoint_groups(plan.numbered(batches, done), 0):
            for (step, _), found in zip(group, pool.map(take, [n for _, n in group]), strict=True):
                counts.merge(found)
                if on_progress:
                    total = 2 * len(plan.data)
                    on_progress(min(len(plan.data) + step * plan.batch, total), total)
            if store:
                store.save_second(group[-1][0], counts)
    return counts
