"""The dissection of one unit on one image, step by step (survey figure F12)."""

from dataclasses import dataclass

from torch import Tensor, nn

from ...core import Bool, Float
from .analysis import best_concept
from .grid import upsample
from .plan import LabelledData, Plan, make_plan
from .table import LayerTable


@dataclass(frozen=True)
class Walkthrough:
    """How one unit is compared with its best concept on one image.

    Attributes:
        target: "layer:unit".
        image: the image.
        activation: the unit's map.
        upsampled: the map at label resolution.
        threshold: the unit's threshold.
        mask: where the upsampled map exceeds it.
        concept: name of the concept.
        concept_mask: pixels of the concept.
        iou: IoU of mask and concept on this image.
        dataset_iou: their IoU over all images.
        detected: whether this IoU is high enough for a detector.
    """

    target: str
    image: Float[Tensor, "c rows columns"]
    activation: Float[Tensor, "h w"]
    upsampled: Float[Tensor, "y x"]
    threshold: float
    mask: Bool[Tensor, "y x"]
    concept: str
    concept_mask: Bool[Tensor, "y x"]
    iou: float
    dataset_iou: float
    detected: bool


def walkthrough(model: nn.Module, data: LabelledData, table: LayerTable, unit: int) -> Walkthrough:
    """Compare a unit with its best concept, on the first top-activating image that has both.

    Where mask and concept meet on none of them, the first one with the concept is shown.
    This follows the convention "original".

    Args:
        model: the dissected network.
        data: the images it was dissected on.
        table: of the unit's layer, with top-activating images (`dissect(top=)`).
        unit: the unit, from 0.
    """
    plan = make_plan(model, data, [table.layer])
    number = table.concepts[int(table.best()[1][unit])].number
    recorded = [image for image in table.top_images[unit].tolist() if image >= 0]
    chosen = [image for image in recorded if (plan.labels([image]) == number).any()]
    compared = [_compare(plan, table, unit, image) for image in chosen or recorded[:1]]
    return max(compared, key=lambda steps: steps.iou > 0)


def _compare(plan: Plan, table: LayerTable, unit: int, image: int) -> Walkthrough:
    label = table.concepts[int(table.best()[1][unit])]
    concept = (plan.labels([image])[0] == label.number).any(0)
    activation = plan.maps([image], plan.layers)[table.layer][:, unit : unit + 1].cpu()
    upsampled = upsample(activation, plan.grids[table.layer])[0, 0]
    mask = upsampled > table.thresholds[unit]
    return Walkthrough(
        f"{table.layer.removesuffix('.relu')}:{unit}",
        plan.data.batch([image])[0],
        activation[0, 0],
        upsampled,
        float(table.thresholds[unit]),
        mask,
        label.name,
        concept,
        float((mask & concept).sum() / (mask | concept).sum().clamp(min=1)),
        iou := best_concept(table, unit)[1],
        table.is_detected(iou),
    )
