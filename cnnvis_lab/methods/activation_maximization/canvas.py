"""The canvas on which a unit is rendered: just large enough for its receptive field."""

from typing import NamedTuple

from torch import Tensor

from ...core import Float, Images, receptive_field
from ...data.images import Size, height_and_width
from ...models import Model
from .recipes import Recipe


class Canvas(NamedTuple):
    """Size of a rendered image, and the position of the unit in it.

    Attributes:
        size: height and width in pixels; (height, width) of a rectangle.
        position: (row, column) of the unit in its layer's map; None for a fully connected layer.
        field: y0, x0, y1, x1 of the unit's receptive field within the canvas.
    """

    size: Size
    position: tuple[int, int] | None
    field: tuple[int, int, int, int]

    @property
    def field_pixels(self) -> int:
        """Number of pixels in the receptive field."""
        y0, x0, y1, x1 = self.field
        return (y1 - y0) * (x1 - x0)

    def crop(self, images: Images) -> Float[Tensor, "n c rows columns"]:
        """Crop images to the receptive field."""
        y0, x0, y1, x1 = self.field
        return images[..., y0:y1, x0:x1]


def full_canvas(size: Size, position: tuple[int, int] | None = None) -> Canvas:
    """Return a canvas of which every pixel belongs to the receptive field."""
    return Canvas(size, position, (0, 0, *height_and_width(size)))


def canvas_for(model: Model, layer: str, recipe: Recipe, *, full_input: bool = False) -> Canvas:
    """Return the smallest canvas that contains the receptive field of a layer's units.

    Args:
        model: the network.
        layer: dotted name or alias.
        recipe: determines the margin around the receptive field.
        full_input: use the network's full input, with the unit in the middle.

    Returns:
        That canvas; the network's full input if the layer requires it, if its receptive field is
        unknown (a warning says so), or if the network does not take smaller images.
    """
    full = model.card.input_size
    shape = model.layer_shapes([layer])[layer]
    if len(shape) < 3:
        return full_canvas(full)
    height, width = height_and_width(full)
    middle = (shape[-2] // 2, shape[-1] // 2)
    field = receptive_field.fields_or_image(model, [layer], full)[layer]
    if 0 in field.stride:
        return full_canvas(full, middle)
    margin = recipe.margin if any(phase.transform for phase in recipe.phases) else 0
    row, column = (-(-(margin - o) // s) for o, s in zip(field.offset, field.stride, strict=True))
    y0, x0, y1, x1 = field.box((row, column))
    size = max(y1, x1) + margin
    if not full_input and size < min(height, width) and _takes(model, layer, size):
        return Canvas(size, (row, column), (y0, x0, y1, x1))
    y0, x0, y1, x1 = field.box(middle)
    return Canvas(full, middle, (max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)))


def _takes(model: Model, layer: str, size: int) -> bool:
    """Return whether a layer runs on square images of a size; some networks check the size."""
    try:
        model.layer_shapes([layer], size)
    except Exception:  # whatever the network raises
        return False
    return True
