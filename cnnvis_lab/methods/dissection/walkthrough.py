"""The steps of dissecting one unit on one image, as survey figure F12 shows them."""

from typing import NamedTuple

from torch import Tensor, nn

from .grid import upsample
from .plan import make_plan
from .table import LayerTable


class Walkthrough(NamedTuple):
    """How one unit is compared with one concept on one picture.

    Attributes:
        picture: (3, h, w).
        activation: (h, w), the unit's map.
        upsampled: (y, x), at label resolution.
        mask: (y, x), where it exceeds the threshold.
        truth: (y, x), where the concept is.
        iou: of the two, on this picture.
    """

    picture: Tensor
    activation: Tensor
    upsampled: Tensor
    mask: Tensor
    truth: Tensor
    iou: float


def walkthrough(model: nn.Module, data: object, table: LayerTable, unit: int) -> Walkthrough:
    """Compare a unit with its best concept on its strongest picture, as the original does.

    Args:
        model: the dissected network.
        data: the pictures it was dissected on.
        table: of the unit's layer, with its strongest pictures (`top`).
        unit: the unit, from 0.
    """
    plan, number = make_plan(model, data, [table.layer]), [int(table.top_images[unit, 0])]
    maps = plan.maps(number, plan.layers)[table.layer][:, unit : unit + 1].cpu()
    wide = upsample(maps, plan.grids[table.layer])[0, 0]
    concept = table.concepts[int(table.best()[1][unit])]
    mask, truth = wide > table.thresholds[unit], (plan.labels(number)[0] == concept.number).any(0)
    iou = float((mask & truth).sum() / (mask | truth).sum())
    return Walkthrough(plan.data.batch(number)[0], maps[0, 0], wide, mask, truth, iou)
