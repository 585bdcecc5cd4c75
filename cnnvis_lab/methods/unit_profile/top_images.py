"""A unit's top-activating images, the position of each activation, and its DeconvNet projection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core import Bool, Float, Images, InputError, Int
from ...models import Model
from .. import deconvnet, dissection
from .layer import LayerAnalysis, Unavailable, check_unit


@dataclass(frozen=True)
class TopImages:
    """The images that activate a unit most, in descending order.

    Attributes:
        images: (k, 3, h, w) the images.
        masks: (k, y, x) where the unit exceeds its dissection threshold, at label resolution.
        boxes: (k, 4) y0, x0, y1, x1 of the receptive field of the maximum activation.
        patches: (k, 3, r, c) the images, cropped to these boxes.
        projections: backward rule -> (k, 3, r, c) projection of the maximum activation.
        activations: (k,) the unit's maximum activation on each image.
    """

    images: Images
    masks: Bool[Tensor, "k y x"] | Unavailable
    boxes: Int[Tensor, "k 4"]
    patches: Float[Tensor, "k channels r c"]
    projections: Mapping[str, Float[Tensor, "k _ r c"]] | Unavailable
    activations: Float[Tensor, " k"]


def top_images(
    model: Model,
    analysis: LayerAnalysis,
    unit: int,
    count: int = 9,
    *,
    rules: Sequence[str] = ("deconvnet", "guided"),
) -> TopImages:
    """Return a unit's top-activating images, with projections and masks where available.

    Args:
        model: the network.
        analysis: analysis of the unit's layer in this network.
        unit: index of the unit.
        count: number of images, limited to those in the analysis.
        rules: backward rules, see `deconvnet.project`; empty for no projections.

    Raises:
        InputError: the unit is out of range.
    """
    check_unit(analysis.layer, unit, len(analysis))
    indices = analysis.top.images[unit, :count].tolist()
    images, activations = analysis.images.batch(indices), analysis.top.values[unit, :count]
    masks = _masks(model, analysis, unit, images)
    boxes = torch.tensor([0, 0, *images.shape[-2:]]).expand(len(indices), 4)
    patches, projections = images, {}
    try:
        for rule in rules:
            top = deconvnet.top_projections(
                model,
                analysis.images,
                [analysis.layer],
                k=count,
                units={analysis.layer: [unit]},
                top_images={analysis.layer: analysis.top},
                rule=rule,
            )[analysis.layer]
            projections[rule] = top.projections[0]
            if len(projections) == 1:  # boxes do not depend on the rule
                boxes, patches = top.boxes[0], top.patches(analysis.images)[0]
    except InputError as error:
        projections = Unavailable(str(error))
    return TopImages(images, masks, boxes, patches, projections, activations)


def _masks(
    model: Model, analysis: LayerAnalysis, unit: int, images: Images
) -> Bool[Tensor, "k y x"] | Unavailable:
    if isinstance(analysis.table, Unavailable):
        return analysis.table
    height, width = analysis.images.label_maps([0]).shape[-2:]
    return dissection.unit_masks(
        model,
        images.to(model.device),
        analysis.after_relu,
        analysis.table.thresholds,
        [unit],
        size=(height, width),
    )[:, 0]
