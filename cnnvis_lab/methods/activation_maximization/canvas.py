"""The canvas a unit is rendered on: just large enough for its receptive field."""

from typing import NamedTuple

from ...core import receptive_field
from ...models import Model
from .recipes import Recipe


class Canvas(NamedTuple):
    """Where a unit is drawn.

    Attributes:
        size: side in pixels.
        position: (row, column) of the unit in its layer's map; None for a full layer.
        field: y0, x0, y1, x1 of what it sees, within the canvas.
    """

    size: int
    position: tuple[int, int] | None
    field: tuple[int, int, int, int]


def canvas_of(model: Model, layer: str, margin: int = 0, *, whole: bool = False) -> Canvas:
    """Return the smallest canvas on which a unit sees nothing but canvas.

    Args:
        model: the network.
        layer: dotted name or alias.
        margin: pixels kept around the receptive field, for transformations to move in.
        whole: draw on the network's whole input, the unit in the middle.

    Returns:
        That canvas; the network's whole input where the field, or the layer, needs all of it.
    """
    full = model.card.input_size
    shape = model.layer_shapes([layer], full)[layer]
    if len(shape) < 3:
        return Canvas(full, None, (0, 0, full, full))
    field = receptive_field.receptive_fields(model, [layer], full)[layer]
    if 0 in field.stride:
        return Canvas(full, None, (0, 0, full, full))
    first = [-(-(margin - o) // s) for o, s in zip(field.offset, field.stride, strict=True)]
    box = field.box((first[0], first[1]))
    size = max(box[2], box[3]) + margin
    if whole or size >= full:
        middle = (shape[-2] // 2, shape[-1] // 2)
        y0, x0, y1, x1 = field.box(middle)
        return Canvas(full, middle, (max(y0, 0), max(x0, 0), min(y1, full), min(x1, full)))
    return Canvas(size, (first[0], first[1]), box)


def canvas_for(model: Model, layer: str, recipe: Recipe, whole: bool = False) -> Canvas:
    """Return the canvas that a recipe is drawn on: see `canvas_of`."""
    moves = any(phase.transform for phase in recipe.phases)
    return canvas_of(model, layer, recipe.margin if moves else 0, whole=whole)
