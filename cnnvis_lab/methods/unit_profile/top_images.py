"""The pictures that excite a unit most, where it answers in them, and what in them excites it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Bool, Float, Images, InputError, Int
from ...models import Model
from .. import dissection
from ..deconvnet import top_projections
from .layer import LayerAnalysis, Unavailable


@dataclass(frozen=True)
class TopImages:
    """The pictures that excite a unit most, strongest first.

    Attributes:
        pictures: (k, 3, h, w).
        masks: (k, y, x) where it is above its dissection threshold, at label resolution.
        boxes: (k, 4) y0, x0, y1, x1 of what its strongest activation sees.
        patches: (k, 3, r, c) that part of the pictures.
        projections: rule of the way back -> (k, 3, r, c) what in these excited the unit.
        activations: (k,).
    """

    pictures: Images
    masks: Bool[Tensor, "k y x"] | Unavailable
    boxes: Int[Tensor, "k 4"]
    patches: Float[Tensor, "k 3 r c"]
    projections: Mapping[str, Float[Tensor, "k 3 r c"]] | Unavailable
    activations: Float[Tensor, " k"]


def top_images(
    model: Model,
    known: LayerAnalysis,
    unit: int,
    count: int = 9,
    *,
    rules: Sequence[str] = ("deconvnet", "guided"),
) -> TopImages:
    """Return a unit's strongest pictures, with projections and masks as far as there are any.

    Args:
        model: the network.
        known: of the unit's layer, of the same network.
        unit: from 0.
        count: pictures; no more than were kept.
        rules: of the way back, keys of `core.reversals.RULES`; none for no projections.

    Raises:
        InputError: the unit is out of range.
    """
    known.check(unit)
    numbers = known.found.images[unit, :count].tolist()
    pictures, values = known.pictures.batch(numbers), known.found.values[unit, :count]
    masks = _activation_masks(model, known, unit, pictures)
    whole = torch.tensor([0, 0, *pictures.shape[-2:]]).expand(len(numbers), 4)
    knobs = {"k": count, "units": {known.layer: [unit]}, "found": {known.layer: known.found}}
    place = known.pictures, [known.layer]
    try:
        back = {r: top_projections(model, *place, rule=r, **knobs)[known.layer] for r in rules}
    except InputError as error:
        return TopImages(pictures, masks, whole, pictures, Unavailable(str(error)), values)
    if not back:
        return TopImages(pictures, masks, whole, pictures, {}, values)
    first = back[rules[0]]
    shown = {rule: top.projections[0] for rule, top in back.items()}
    patches = first.patches(known.pictures)[0]
    return TopImages(pictures, masks, first.boxes[0], patches, shown, values)


def _activation_masks(
    model: Model, known: LayerAnalysis, unit: int, pictures: Images
) -> Bool[Tensor, "k y x"] | Unavailable:
    if isinstance(known.table, Unavailable):
        return known.table
    size = tuple(known.pictures.label_maps([0]).shape[-2:])
    there = pictures.to(model.device)
    levels = known.table.thresholds
    return dissection.unit_masks(model, there, known.after, levels, [unit], size=size)[:, 0]
