"""Controls that several explorers have: choices, numbers, a layer with its units, a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import ipywidgets as widgets
from torch import Tensor

from ...core import Float, LabError
from ...data import ImageSet, images

OFFERED_IMAGES = 24  # pictures of a data set


def _widget_options(width: str) -> dict[str, object]:
    return {
        "layout": widgets.Layout(width=width, margin="2px 12px 2px 2px"),
        "style": {"description_width": "initial"},
    }


def choice(name: str, options: Sequence, value: object, width: str = "230px") -> widgets.Dropdown:
    """One of several; options may be (words, value) pairs."""
    return widgets.Dropdown(
        options=list(options), value=value, description=name, **_widget_options(width)
    )


def number(name: str, value: int, low: int, high: int) -> widgets.BoundedIntText:
    """A whole number; its picture follows once it is entered."""
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
    """One of a row of values; a live one is followed while it moves."""
    return widgets.SelectionSlider(
        options=list(options), value=value, description=name, continuous_update=live,
        **_widget_options("340px"),
    )  # fmt: skip


def switch(name: str, value: bool) -> widgets.Checkbox:
    """On or off."""
    return widgets.Checkbox(value=value, description=name, indent=False, **_widget_options("120px"))


def with_value(options: Sequence, value: object) -> list:
    """Return numbers in order, with one more where it is not among them."""
    return sorted({*options, value})


def layer_and_unit(
    units: dict[str, int], layer: str, unit: int
) -> tuple[widgets.Dropdown, widgets.BoundedIntText]:
    """A layer and one of its units; a smaller layer takes the unit back to its last one."""
    layers, one = choice("layer", list(units), layer), number("unit", unit, 0, units[layer] - 1)

    def fit(change: dict) -> None:
        if change["new"] in units:
            one.max = units[change["new"]] - 1

    layers.observe(fit, "value")
    return layers, one


def set_options(control: widgets.Dropdown | widgets.SelectionSlider, options: Sequence) -> None:
    """Offer other values; the chosen one stays where it is among them, else the first is chosen."""
    before = control.value
    control.options = list(options)
    if before in options:
        control.value = before


class ImageChoice:
    """One picture by name: of the data set, one of the bundled photographs, or from disk.

    Args:
        size: side, in pixels, of the network's input.
        pictures: the data set; None offers photographs only.
        failed: called with what is wrong with a file that is no picture.

    Attributes:
        control: chooses among the names.
        upload: adds a picture from disk to them, and chooses it.
    """

    def __init__(
        self, size: int, pictures: ImageSet | None, failed: Callable[[LabError], None]
    ) -> None:
        self.size, self.pictures, self.failed, self.added = size, pictures, failed, {}
        self.numbers = {f"picture {n}": n for n in range(min(OFFERED_IMAGES, len(pictures or ())))}
        names = [*self.numbers, *images.PHOTOGRAPHS]
        self.control = choice("picture", names, names[0])
        self.upload = widgets.FileUpload(accept="image/*", description="from disk")
        self.upload.observe(self._uploaded, "value")

    def __getitem__(self, name: str) -> Float[Tensor, "3 h w"]:
        """Return the picture of that name in the network's size."""
        if name in self.added:
            return self.added[name]
        if name in self.numbers:
            return self.pictures.batch([self.numbers[name]])[0]
        return images.photograph(name, self.size)

    def add(self, name: str, picture: Float[Tensor, "3 h w"]) -> None:
        """Offer one more picture, and choose it; a name that is taken gets a number."""
        plain, number = name, 1
        while name in self.control.options:
            number += 1
            name = f"{plain} ({number})"
        self.added[name] = images.resize_and_crop(picture, self.size)
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
                    self.failed(error)


STEP_CHOICES = (8, 16, 32, 64, 96, 128, 256, 512)
