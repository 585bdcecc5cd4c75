"""Units of a layer to begin with: those that fit concepts best, or active ones."""

from typing import NamedTuple

from ...data import ImageSet, LabelledSet, Subset
from ...models import Model
from .. import evaluation
from ..dissection import LayerTable, dissect, distinct_units
from .layer import has_label_maps
from .statistics import BATCH_SIZE

MIN_IMAGES = 5  # concepts that occur in fewer are left out


class ChosenUnits(NamedTuple):
    """Some units of a layer.

    Attributes:
        units: the units.
        top_images: the index of each unit's top-activating image.
        table: the dissected layer; None for images without label maps.
    """

    units: list[int]
    top_images: list[int]
    table: LayerTable | None


def choose_units(
    model: Model,
    layer: str,
    data: ImageSet | LabelledSet,
    count: int,
    *,
    top: int = 3,
) -> ChosenUnits:
    """Return the units that fit different concepts best; without label maps, some active units.

    Args:
        model: the network.
        layer: a layer with maps.
        data: the images.
        count: maximum number of units.
        top: number of top-activating images in the table.
    """
    top = min(top, len(data))
    if isinstance(data, LabelledSet) and has_label_maps(data):
        table = dissect(model, data, [layer], min_images=MIN_IMAGES, top=top)[layer]
        units = distinct_units(table, count)
        return ChosenUnits(units, table.top_images[units, 0].tolist(), table)
    batches = Subset(data, range(len(data))).batches(BATCH_SIZE)
    found = evaluation.top_images(model, [layer], batches, top)[layer]
    units = evaluation.active_units(found, count)
    return ChosenUnits(units, found.images[units, 0].tolist(), None)
