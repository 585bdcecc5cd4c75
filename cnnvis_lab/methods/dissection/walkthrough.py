"""The dissection of one unit on one image, step by step (survey figure F12)."""

from typing import NamedTuple

from torch import Tensor, nn

from .grid import upsample
from .plan import LabelledData, make_plan
from .table import LayerTable


class Walkthrough(NamedTuple):
    """How one unit is compared with one concept on one image.

    Attributes:
        image: (3, h, w) the image.
        activation: (h, w) the unit's map.
        upsampled: (y, x) the map at label resolution.
        mask: (y, x) where the upsampled map exceeds the threshold.
        concept: (y, x) pixels of the concept.
        iou: IoU of mask and concept on this image.
    """

    image: Tensor
    activation: Tensor
    upsampled: Tensor
    mask: Tensor
    concept: Tensor
    iou: float


def walkthrough(model: nn.Module, data: LabelledData, table: LayerTable, unit: int) -> Walkthrough:
    """Compare a unit with its best concept on its top-activating image.

    This follows the convention "original".

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        table: of the unit's layer, with top-activating images (`dissect(top=)`).
        unit: the unit, from 0.
    """
    plan, index = make_plan(model, data, [table.layer]), [int(table.top_images[unit, 0])]
    activation = plan.maps(index, plan.layers)[table.layer][:, unit : unit + 1].cpu()
    upsampled = upsample(activation, plan.grids[table.layer])[0, 0]
    label = table.concepts[int(table.best()[1][unit])]
    mask = upsampled > table.thresholds[unit]
    concept = (plan.labels(index)[0] == label.number).any(0)
    iou = float((mask & concept).sum() / (mask | concept).sum())
    return Walkthrough(plan.data.batch(index)[0], activation[0, 0], upsampled, mask, concept, iou)
