"""Network dissection (Bau et al. 2017): which concepts single units detect, counted in pixels.

A unit's mask is where its upsampled map exceeds the threshold that half a percent of its raw
activations exceed. Its score for a concept is IoU = |M and L| / |M or L|, summed over the pictures
that carry any label of the concept's category. Two passes over the pictures: thresholds, then
masks. Where disk is allowed, the first pass keeps the little that can lie above the thresholds, and
the second needs no network. All counts are whole numbers, so that parts of a data set, counted
anywhere and in any order, add up to the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core import hooks
from ..core.shapes import Bool, Float, Images
from ..core.tally import Quantiles, TopK
from .dissection_counts import Counts, truth
from .dissection_grids import as_maps, units_last, upsample
from .dissection_masks import Cells, active, cells_above, values_above
from .dissection_probe import CONVENTIONS, Convention, Probe, grids_of, named, probe
from .dissection_store import Store, opened
from .dissection_table import LayerTable, detector_counts

__all__ = [
    "CONVENTIONS",
    "Convention",
    "LayerTable",
    "detector_counts",
    "dissect",
    "first_pass",
    "masks",
    "probe",
    "second_pass",
    "tables",
    "thresholds_of",
]

Progress = Callable[[int, int], None]
SAMPLE = 256  # pictures seen before it is told what is worth keeping
LOOSE = 3.0  # so many times the share above the thresholds is kept, in case the sample misleads


def dissect(
    model: nn.Module,
    data: object,
    layers: Sequence[str],
    *,
    convention: str | Convention = "original",
    batch: int = 64,
    least_pictures: int = 1,
    top: int = 0,
    keep: int = 2**31,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, LayerTable]:
    """Dissect layers of a network.

    Args:
        model: any network; images in [0, 1] go in.
        data: a `PictureSet`, an opened Broden folder, or anything `Labelled`.
        layers: dotted names or aliases; all are dissected together.
        convention: a name in `CONVENTIONS`, or one of your own.
        batch: pictures taken together; changes time and memory, and at most how sums are rounded.
        least_pictures: concepts seen in fewer pictures name no unit.
        top: how many of each unit's strongest pictures to note.
        keep: bytes of disk the first pass may fill so that the second need not run the network
            again; 0 to run it again. Changes nothing but time.
        folder: where to work; a dissection that was killed goes on from there. None for a
            temporary one.
        progress: called with how many pictures are done, of both passes, and how many there are.

    Returns:
        Layer -> what was found.

    Raises:
        NameNotFound: no such layer or convention.
        InputError: nothing to compare, or a layer whose receptive fields cannot be told.
        FileProblem: `folder` belongs to another dissection.

    Source: Bau et al. 2017, equation 1 and section 2.2.
    """
    plan = probe(model, data, layers, convention=convention, batch=batch, top=top)
    with opened(folder, plan, keep) as store:
        quantiles, tops = first_pass(plan, store=store, progress=progress)
        thresholds = thresholds_of(plan, quantiles)
        counts = second_pass(plan, thresholds, store=store, progress=progress)
    return tables(plan, thresholds, counts, tops, least_pictures=least_pictures)


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
        progress: see `dissect`.
    """
    quantiles, tops = plan.quantiles(), plan.tops()
    done = store.restore_first(quantiles, tops) if store else 0
    floors = store.floors() if store else {}

    def look(layer: str) -> Cells | None:
        """Take in one layer's maps; layers are looked at side by side."""
        if plan.top:
            tops[layer].update(maps[layer], pictures)
        return _gather(plan, layer, maps[layer], quantiles[layer], floors.get(layer))

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for step, number in plan.numbered(batches, done):
            pictures = torch.tensor(plan.batches[number])
            maps = plan.maps(plan.batches[number], plan.layers)
            cells = dict(zip(plan.layers, pool.map(look, plan.layers), strict=True))
            if floors and store:
                store.keep(number, cells)
            elif not (floors or exact) and step * plan.batch >= SAMPLE:
                floors = _floors(plan, quantiles, store)
            if store:
                store.save_first(step, quantiles, tops)
            if progress:
                progress(min(step * plan.batch, len(plan.data)), 2 * len(plan.data))
    return quantiles, tops


def _gather(
    plan: Probe, layer: str, maps: Tensor, quantiles: Quantiles, floor: Tensor | None
) -> Cells | None:
    """Feed a layer's thresholds; return the cells above the floor, where there is one."""
    if plan.convention.upsampled:
        quantiles.update(upsample(maps, plan.grids[layer]), torch.empty(0))
    elif floor is None:
        quantiles.update(maps, torch.empty(0))
    if floor is None:
        return None
    values, level = units_last(maps), floor.numpy()
    cells = cells_above(values, level)
    if not plan.convention.upsampled:
        above = values_above(cells, plan.grids[layer], level)
        quantiles.update_above(*above, values[..., 0].size, values.min((0, 1, 2)))
    return cells


def _floors(
    plan: Probe, quantiles: Mapping[str, Quantiles], store: Store | None
) -> dict[str, Tensor]:
    """Choose levels that thresholds will hardly fall below; look at what lies above only."""
    share = min(LOOSE * plan.convention.quantile, 0.5)
    floors = {layer: quantiles[layer].at(1 - share) for layer in plan.layers}
    for layer in () if plan.convention.upsampled else plan.layers:
        quantiles[layer].raise_floor(floors[layer])
    return store.set_floors(floors) if store else floors


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
        progress: see `dissect`.
    """
    counts = plan.counts()
    done = store.restore_second(counts) if store else 0
    floors = store.floors() if store else {}
    usable = [name for name in floors if (floors[name] <= thresholds[name]).all()]

    def look(layer: str) -> None:
        """Count one layer's masks; layers are looked at side by side."""
        level = thresholds[layer].numpy()
        cells = kept[layer] if layer in kept else cells_above(units_last(maps[layer]), level)
        parts = active(cells, plan.grids[layer], level, binary=plan.convention.binary)
        counts.add_masks(layer, parts, shown)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for step, number in plan.numbered(batches, done):
            kept = store.kept(number, usable) if usable else {}
            rest = [layer for layer in plan.layers if layer not in kept]
            maps = plan.maps(plan.batches[number], rest) if rest else {}
            shown = truth(plan.labels(plan.batches[number]).numpy(), counts.numbers)
            counts.add_truth(shown)
            list(pool.map(look, plan.layers))
            if store:
                store.save_second(step, counts)
            if progress:
                total = 2 * len(plan.data)
                progress(min(len(plan.data) + step * plan.batch, total), total)
    return counts


def tables(
    plan: Probe,
    thresholds: Mapping[str, Tensor],
    counts: Counts,
    tops: Mapping[str, TopK],
    *,
    least_pictures: int = 1,
) -> dict[str, LayerTable]:
    """Read the counts of the whole data set: layer -> what was found in it."""
    group, found = torch.from_numpy(counts.group[1:]), {}
    for layer in plan.layers:
        units, none = plan.units[layer], not plan.top
        found[layer] = LayerTable(
            layer=layer,
            concepts=counts.labels,
            thresholds=thresholds[layer],
            both=counts.sums[f"{layer}.both"][:, 1:],
            active=counts.sums[f"{layer}.area"][:, group],
            pixels=counts.sums["pixels"][1:],
            pictures=counts.sums["pictures"][1:],
            least_iou=plan.convention.least_iou,
            exceed=plan.convention.exceed,
            least_pictures=least_pictures,
            top_values=torch.empty(units, 0) if none else tops[layer].values,
            top_images=torch.empty(units, 0).long() if none else tops[layer].images,
        )
    return found


def masks(
    model: nn.Module,
    images: Images,
    layer: str,
    thresholds: Float[Tensor, " units"],
    units: Sequence[int],
    *,
    size: tuple[int, int] | None = None,
    convention: str | Convention = "original",
) -> Bool[Tensor, "n chosen y x"]:
    """Return the masks of units on pictures.

    Args:
        model: the network.
        images: the pictures.
        layer: dotted name or alias.
        thresholds: of all units of the layer, from a dissection.
        units: the units to show, from 0.
        size: height and width of the masks; None for those of the pictures.
        convention: as it was dissected.
    """
    convention = named(convention)
    with torch.no_grad():
        maps = as_maps(hooks.activations(model, images, [layer])[layer])
    picture = tuple(images.shape[-2:])
    grid = grids_of(model, {layer: maps}, picture, size or picture, convention)[layer]
    chosen, level = maps[:, list(units)].cpu(), thresholds[list(units)][:, None, None]
    if convention.binary:
        return upsample((chosen > level).float(), grid) > 0.5
    return upsample(chosen, grid) > level
