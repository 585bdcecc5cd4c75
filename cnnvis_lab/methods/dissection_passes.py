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

from ..core.tally import Quantiles, TopK
from .dissection_counts import Counts, truth
from .dissection_grids import units_last, upsample
from .dissection_masks import Cells, active, cells_above, values_above
from .dissection_probe import Probe
from .dissection_store import Store

Progress = Callable[[int, int], None]
AT_ONCE = 2  # batches
SAMPLE = 256  # pictures seen before it is told what is worth keeping
LOOSE = 3.0  # so many times the share above the thresholds is kept, in case the sample misleads


def first_pass(
    plan: Probe,
    batches: Iterable[int] | None = None,
    *,
    exact: bool = False,
    store: Store | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Quantiles], dict[str, TopK]]:
    """Gather what thresholds and top pictures are told from; merge what parts of the data gave.

    Args:
        plan: see `probe`.
        batches: numbers of the batches to take; None for all.
        exact: keep counting all activations, even those that a sample says lie far too low.
        store: keeps what the second pass can use, and the state to go on from.
        progress: called with how many pictures are done, of both passes, and how many there are.
    """
    quantiles, tops = plan.quantiles(), plan.tops()
    done = store.restore_first(quantiles, tops) if store else 0
    floors = store.floors() if store else {}
    if floors and not done:
        _raise_floors(plan, quantiles, floors)
    keeps, locks = bool(store and store.budget), {layer: Lock() for layer in plan.layers}
    sample = -(-SAMPLE // plan.batch)

    def take(number: int) -> None:
        pictures, cells = torch.tensor(plan.batches[number]), {}

        def look(layer: str, maps: Tensor) -> None:
            if plan.top:
                with locks[layer]:
                    tops[layer].update(maps, pictures)
            cells[layer] = _gather(
                plan, layer, maps, quantiles[layer], floors.get(layer), keeps, locks[layer]
            )

        run(plan.batches[number], look)
        if floors and keeps:
            store.keep(number, cells)

    with plan.running(plan.layers) as run, _side_by_side() as pool:
        for group in _groups(plan.numbered(batches, done), sample):
            for (step, _), _ in zip(group, pool.map(take, [n for _, n in group]), strict=True):
                if progress:
                    progress(min(step * plan.batch, len(plan.data)), 2 * len(plan.data))
            step = group[-1][0]
            if not (floors or exact) and step >= sample:
                floors = _floors(plan, quantiles, store)
            if store:
                store.save_first(step, quantiles, tops)
    return quantiles, tops


def _groups(numbered: list[tuple[int, int]], sample: int) -> Iterator[list[tuple[int, int]]]:
    """Cut batches up where the sample is whole, and where the state is due to be written."""

    def part(batch: tuple[int, int]) -> tuple[bool, int]:
        return batch[0] > sample, (batch[0] - 1) // Store.EVERY

    for _, group in groupby(numbered, part):
        yield list(group)


@contextmanager
def _side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Give threads that share torch's among themselves; what is waiting ends with the block."""
    threads = torch.get_num_threads()
    workers = min(AT_ONCE, threads)
    pool = ThreadPoolExecutor(workers, "pass", torch.set_num_threads, (threads // workers,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _gather(
    plan: Probe,
    layer: str,
    maps: Tensor,
    quantiles: Quantiles,
    floor: Tensor | None,
    keeps: bool,
    lock: Lock,
) -> Cells | None:
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
        above = values_above(cells, plan.grids[layer], level) if cells else _above(values, level)
        lowest = values.min((0, 1, 2))
        with lock:
            quantiles.update_above(*above, values[..., 0].size, lowest)
    return cells


def _above(values: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return units and values of what lies above the units' levels."""
    place = np.flatnonzero(values > level)
    return place % len(level), values.reshape(-1).take(place)


def _floors(
    plan: Probe, quantiles: Mapping[str, Quantiles], store: Store | None
) -> dict[str, Tensor]:
    """Choose levels that thresholds will hardly fall below; look at what lies above only."""
    share = min(LOOSE * plan.convention.quantile, 0.5)
    floors = {layer: quantiles[layer].at(1 - share) for layer in plan.layers}
    _raise_floors(plan, quantiles, floors)
    return store.set_floors(floors) if store else floors


def _raise_floors(
    plan: Probe, quantiles: Mapping[str, Quantiles], floors: Mapping[str, Tensor]
) -> None:
    for layer in () if plan.convention.upsampled else plan.layers:
        quantiles[layer].raise_floor(floors[layer])


def thresholds_of(plan: Probe, quantiles: Mapping[str, Quantiles]) -> dict[str, Tensor]:
    """Return layer -> the activation that a share of `quantile` of each unit's exceeds.

    Where a unit's floor was too high to tell, the layer's activations are counted again.
    """
    share = 1 - plan.convention.quantile
    doubtful = [layer for layer in plan.layers if not quantiles[layer].sound(share).all()]
    again = {}
    if doubtful:
        again = first_pass(replace(plan, layers=tuple(doubtful), top=0), exact=True)[0]
    return {layer: {**quantiles, **again}[layer].at(share) for layer in plan.layers}


def second_pass(
    plan: Probe,
    thresholds: Mapping[str, Tensor],
    batches: Iterable[int] | None = None,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Counts:
    """Count masks against labels; merge what parts of the data gave.

    Args:
        plan: see `probe`.
        thresholds: layer -> (units,), of the whole data set.
        batches: numbers of the batches to take; None for all.
        store: what the first pass kept, and the state to go on from.
        progress: as in `first_pass`.
    """
    counts = plan.counts()
    done = store.restore_second(counts) if store else 0
    floors = store.floors() if store else {}
    usable = [name for name in floors if (floors[name] <= thresholds[name]).all()]

    def take(number: int) -> Counts:
        found, pictures = plan.counts(), plan.batches[number]
        shown = truth(plan.labels(pictures).numpy(), found.numbers)
        found.add_truth(shown)

        def count(layer: str, cells: Cells) -> None:
            level = thresholds[layer].numpy()
            parts = active(cells, plan.grids[layer], level, binary=plan.convention.binary)
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

    with plan.running(plan.layers) as run, _side_by_side() as pool:
        for group in _groups(plan.numbered(batches, done), 0):
            for (step, _), found in zip(group, pool.map(take, [n for _, n in group]), strict=True):
                counts.merge(found)
                if progress:
                    total = 2 * len(plan.data)
                    progress(min(len(plan.data) + step * plan.batch, total), total)
            if store:
                store.save_second(group[-1][0], counts)
    return counts
