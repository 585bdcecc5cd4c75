"""Controls that several explorers use: choices, numbers, a layer with its units, an image."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import ipywidgets as widgets
from torch import Tensor

from ...core import Float, LabError
from ...data import ImageSet, images

OFFERED_IMAGES = 24  # of a dataset


def _widget_options(width: str) -> dict[str, object]:
    return {
        "layout": widgets.Layout(width=width, margin="2px 12px 2px 2px"),
        "style": {"description_width": "initial"},
    }


def choice(name: str, options: Sequence, value: object, width: str = "230px") -> widgets.Dropdown:
    """Return a choice of one of several options.

    Args:
        name: label of the widget.
        options: values, or pairs (label, value).
        value: the initial value.
        width: of the widget, as CSS.
    """
    return widgets.Dropdown(
        options=list(options), value=value, description=name, **_widget_options(width)
    )


def number(name: str, value: int, low: int, high: int) -> widgets.BoundedIntText:
    """Return an integer field; the image is updated once a number is entered.

    Args:
        name: label of the widget.
        value: the initial value.
        low: the smallest value.
        high: the largest value.
    """
    return widgets.BoundedIntText(
        value=value,
        min=low,
        max=high,
        description=name,
        continuous_update=False,
        **_widget_options("140px"),
    )


def slider(
    name: str, options: Sequence, value: object, *, live: bool = False
) -> widgets.SelectionSlider:
    """Return a slider over a row of values.

    Args:
        name: label of the widget.
        options: values, or pairs (label, value).
        value: the initial value.
        live: update the image while the slider moves.
    """
    return widgets.SelectionSlider(
        options=list(options), value=value, description=name, continuous_update=live,
        **_widget_options("340px"),
    )  # fmt: skip


def switch(name: str, value: bool) -> widgets.Checkbox:
    """Return a check box."""
    return widgets.Checkbox(value=value, description=name, indent=False, **_widget_options("120px"))


def with_value(options: Sequence[float], value: float) -> list[float]:
    """Return options in ascending order, with the value added if it is not among them."""
    return sorted({*options, value})


def layer_and_unit(
    units: dict[str, int], layer: str, unit: int
) -> tuple[widgets.Dropdown, widgets.BoundedIntText]:
    """Return controls of a layer and one of its units.

    When a layer with fewer units is chosen, the unit becomes its last one at most.

    Args:
        units: layer -> number of its units.
        layer: the initial layer.
        unit: the initial unit.
    """
    layer_choice, unit_number = (
        choice("layer", list(units), layer),
        number("unit", unit, 0, units[layer] - 1),
    )

    def limit_unit(change: dict) -> None:
        if change["new"] in units:
            unit_number.max = units[change["new"]] - 1

    layer_choice.observe(limit_unit, "value")
    return layer_choice, unit_number


def set_options(control: widgets.Dropdown | widgets.SelectionSlider, options: Sequence) -> None:
    """Offer other options; the chosen value is kept if possible, otherwise the first is chosen."""
    before = control.value
    control.options = list(options)
    if before in options:
        control.value = before


class ImageChoice:
    """A choice of one image by name: from the dataset, a bundled photograph, or from disk.

    Args:
        size: pixels of the network's square input, or (height, width).
        dataset: the dataset; None offers photographs only.
        on_error: called with the error for an uploaded file that is not an image.

    Attributes:
        control: the widget that chooses a name.
        upload: the widget that adds an image from disk and chooses it.
    """

    def __init__(
        self, size: images.Size, dataset: ImageSet | None, on_error: Callable[[LabError], None]
    ) -> None:
        self.size, self.dataset, self.on_error = size, dataset, on_error
        self.added: dict[str, Float[Tensor, "c h w"]] = {}
        count = min(OFFERED_IMAGES, len(dataset)) if dataset else 0
        self.indices = {f"image {index}": index for index in range(count)}
        names = [*self.indices, *images.PHOTOGRAPHS]
        self.control = choice("image", names, names[0])
        self.upload = widgets.FileUpload(accept="image/*", description="from disk")
        self.upload.observe(self._uploaded, "value")

    def __getitem__(self, name: str) -> Float[Tensor, "c h w"]:
        """Return the image of that name at the network's input size."""
        if name in self.added:
            return self.added[name]
        if self.dataset and name in self.indices:
            return self.dataset.batch([self.indices[name]])[0]
        return images.photograph(name, self.size)

    def add(self, name: str, image: Float[Tensor, "c h w"]) -> None:
        """Offer another image and choose it; a name that is taken gets a number."""
        plain, number = name, 1
        while name in self.control.options:
            number += 1
            name = f"{plain} ({number})"
        self.added[name] = images.resize_and_crop(image, self.size)
        self.control.options = (*self.control.options, name)
        self.control.value = name

    def _uploaded(self, change: dict) -> None:
        for file in change["new"]:
            with TemporaryDirectory() as folder:
                path = Path(folder, Path(file["name"]).name)
                path.write_bytes(file["content"])
                try:
                    self.add(path.name, images.read(path))
                except LabError as error:
                    self.on_error(error)


STEP_CHOICES = (8, 16, 32, 64, 96, 128, 256, 512)
