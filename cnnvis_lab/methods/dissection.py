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

from ..core import hooks
from ..core.shapes import Bool, Float, Images
from ..core.tally import TopK
from .dissection_counts import Counts
from .dissection_grids import as_maps, upsample
from .dissection_passes import Progress, first_pass, second_pass, thresholds_of
from .dissection_probe import CONVENTIONS, Convention, Probe, grids_of, named, probe
from .dissection_store import opened
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
