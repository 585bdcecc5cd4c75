"""Network dissection (Bau et al. 2017): which concepts single units detect, counted in pixels.

A unit's mask is where its upsampled map exceeds the threshold that half a percent of its raw
activations exceed. Its score for a concept is IoU = |M and L| / |M or L|, summed over the pictures
that carry any label of the concept's category. Two passes over the pictures: thresholds, then
masks. Where disk is allowed, the first pass keeps the little that can lie above the thresholds, and
the second needs no network. All counts are whole numbers, so that parts of a data set, counted
anywhere and in any order, add up to the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core import Bool, Float, Images, hooks
from ...core.statistics import TopK
from .conventions import Convention, get_convention
from .counts import Counts
from .grid import as_maps, upsample
from .passes import OnProgress, count_pass, estimate_thresholds, threshold_pass
from .plan import Plan, make_grids, make_plan
from .table import LayerTable
from .workspace import open_workspace


def dissect(
    model: nn.Module,
    data: object,
    layers: Sequence[str],
    *,
    convention: str | Convention = "original",
    batch: int = 64,
    min_images: int = 1,
    top: int = 0,
    keep: int = 2**31,
    folder: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, LayerTable]:
    """Dissect layers of a network.

    Args:
        model: any network; images in [0, 1] go in.
        data: a `PictureSet`, an opened Broden folder, or anything `Labelled`.
        layers: dotted names or aliases; all are dissected together.
        convention: a name in `CONVENTIONS`, or one of your own.
        batch: pictures taken together; changes time and memory, and at most how sums are rounded.
        min_images: concepts seen in fewer pictures name no unit.
        top: how many of each unit's strongest pictures to note.
        keep: bytes of disk the first pass may fill so that the second need not run the network
            again; 0 to run it again. Changes nothing but time.
        folder: where to work; a dissection that was killed goes on from there. None for a
            temporary one.
        on_progress: called with how many pictures are done, of both passes, and how many there are.

    Returns:
        Layer -> what was found.

    Raises:
        NameNotFound: no such layer or convention.
        InputError: nothing to compare, or a layer whose receptive fields cannot be told.
        FileProblem: `folder` belongs to another dissection.

    Source: Bau et al. 2017, equation 1 and section 2.2.
    """
    plan = make_plan(model, data, layers, convention=convention, batch=batch, top=top)
    with open_workspace(folder, plan, keep) as store:
        quantiles, tops = threshold_pass(plan, store=store, on_progress=on_progress)
        thresholds = estimate_thresholds(plan, quantiles)
        counts = count_pass(plan, thresholds, store=store, on_progress=on_progress)
    return tables(plan, thresholds, counts, tops, min_images=min_images)


def tables(
    plan: Plan,
    thresholds: Mapping[str, Tensor],
    counts: Counts,
    tops: Mapping[str, TopK],
    *,
    min_images: int = 1,
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
            min_iou=plan.convention.min_iou,
            exceed=plan.convention.exceed,
            min_images=min_images,
            top_values=torch.empty(units, 0) if none else tops[layer].values,
            top_images=torch.empty(units, 0).long() if none else tops[layer].images,
        )
    return found


def unit_masks(
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
    convention = get_convention(convention)
    with torch.no_grad():
        maps = as_maps(hooks.activations(model, images, [layer])[layer])
    picture = tuple(images.shape[-2:])
    grid = make_grids(model, {layer: maps}, picture, size or picture, convention)[layer]
    chosen, level = maps[:, list(units)].cpu(), thresholds[list(units)][:, None, None]
    if convention.binary:
        return upsample((chosen > level).float(), grid) > 0.5
    return upsample(chosen, grid) > level
