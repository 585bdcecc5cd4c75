"""Network dissection: threshold units, compare their masks with labeled concepts, tabulate IoU.

There are two passes over the data: one for thresholds, one for masks. If the disk limit allows, the
first pass caches the few values that can lie above the thresholds, so that the second does not run
the network again. All counts are integers, so counts of parts of a dataset add up to the same
result in any order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...core import Bool, Float, Images, choose, hooks
from ...core.statistics import TopK
from .conventions import CONVENTIONS, Convention
from .counts import Counts
from .grid import as_maps, upsample
from .passes import OnProgress, count_pass, estimate_thresholds, threshold_pass
from .plan import LabelledData, Plan, make_grids, make_plan
from .spread import Spread, spread_count_pass, spread_threshold_pass
from .table import LayerTable
from .workspace import open_workspace


@dataclass(frozen=True)
class RunOptions:
    """How a dissection runs. None of the options changes its result, apart from rounding of sums.

    Attributes:
        batch: images per batch.
        disk_limit: bytes that the first pass may write, so that the second does not run the network
            again; 0 for no cache.
        folder: working folder, from which an interrupted dissection resumes; None for a temporary
            one.
        on_progress: called with (images done, total images), counted over both passes.
        spread: processes that share the batches; None to run them in this one.
    """

    batch: int = 64
    disk_limit: int = 2**31
    folder: str | Path | None = None
    on_progress: OnProgress | None = None
    spread: Spread | None = None


def dissect(
    model: nn.Module,
    data: LabelledData,
    layers: Sequence[str],
    *,
    convention: str | Convention = "original",
    min_images: int = 1,
    top: int = 0,
    run: RunOptions = RunOptions(),
) -> dict[str, LayerTable]:
    """Dissect layers of a network.

    Args:
        model: any network that takes images in [0, 1].
        data: images with label maps: a `SceneSet`, a Broden folder, or any `LabelledSet`.
        layers: dotted names or aliases; all are dissected together.
        convention: a name in `CONVENTIONS`, or a custom one.
        min_images: concepts shown in fewer images are not assigned to units.
        top: number of top-activating images to record per unit.
        run: memory, disk and progress; does not change the result.

    Returns:
        Layer -> its table.

    Raises:
        NameNotFound: no such layer or convention.
        InputError: no layer, image or concept.
        FileError: `run.folder` belongs to another dissection.

    Source: Bau et al. 2017, equation 1 and section 2.2.
    """
    plan = make_plan(model, data, layers, convention=convention, batch=run.batch, top=top)
    report = run.on_progress
    with open_workspace(run.folder, plan, run.disk_limit) as workspace:
        if run.spread:
            quantiles, tops = spread_threshold_pass(plan, run.spread, workspace, report)
            thresholds = estimate_thresholds(plan, quantiles)
            counts = spread_count_pass(plan, run.spread, thresholds, workspace, report)
        else:
            quantiles, tops = threshold_pass(plan, workspace=workspace, on_progress=report)
            thresholds = estimate_thresholds(plan, quantiles)
            counts = count_pass(plan, thresholds, workspace=workspace, on_progress=report)
    return tables(plan, thresholds, counts, tops, min_images=min_images)


def tables(
    plan: Plan,
    thresholds: Mapping[str, Tensor],
    counts: Counts,
    tops: Mapping[str, TopK],
    *,
    min_images: int = 1,
) -> dict[str, LayerTable]:
    """Return layer -> table, computed from the results of both passes over the whole dataset.

    Args:
        plan: see `make_plan`.
        thresholds: layer -> (units,) thresholds.
        counts: counts of the second pass.
        tops: layer -> its units' top-activating images.
        min_images: concepts shown in fewer images are assigned to no unit.
    """
    result = {}
    for layer in plan.layers:
        empty = torch.empty(plan.units[layer], 0)
        result[layer] = LayerTable(
            layer=layer,
            concepts=counts.labels,
            thresholds=thresholds[layer],
            intersection=counts.sums[f"{layer}.intersection"][:, 1:],
            mask_pixels=counts.mask_pixels(layer),
            concept_pixels=counts.sums["pixels"][1:],
            concept_images=counts.sums["images"][1:],
            min_iou=plan.convention.min_iou,
            strict=plan.convention.strict,
            min_images=min_images,
            top_values=tops[layer].values if plan.top else empty,
            top_images=tops[layer].images if plan.top else empty.long(),
        )
    return result


def unit_masks(
    model: nn.Module,
    images: Images,
    layer: str,
    thresholds: Float[Tensor, " units"],
    units: Sequence[int],
    *,
    size: Sequence[int] | None = None,
    convention: str | Convention = "original",
) -> Bool[Tensor, "n chosen y x"]:
    """Return the masks of units on images.

    Args:
        model: the network.
        images: the images.
        layer: dotted name or alias.
        thresholds: thresholds of all units of the layer, from a dissection.
        units: indices of the units.
        size: height and width of the masks; None for the size of the images.
        convention: that of the dissection.
    """
    convention = choose("convention", convention, CONVENTIONS)
    with torch.no_grad():
        maps = as_maps(hooks.activations(model, images, [layer])[layer])
    image_size = tuple(images.shape[-2:])
    grid = make_grids(model, {layer: maps}, image_size, size or image_size, convention)[layer]
    chosen, level = maps[:, list(units)].cpu(), thresholds[list(units)][:, None, None]
    if convention.binary:
        return upsample((chosen > level).float(), grid) > 0.5
    return upsample(chosen, grid) > level
