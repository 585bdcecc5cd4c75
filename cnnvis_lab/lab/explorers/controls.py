"""Controls that several explorers use: choices, numbers, a layer with its units, an image."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ipywidgets as widgets
import torch
from torch import Tensor, nn
from traitlets import TraitError

from ...core import Float, InputError, LabError
from ...data import ImageSet, as_labelled, images
from ...models import Model
from .thumbnails import SIZE, Thumbnails, square
from .worker import Request

OFFERED_IMAGES = 24  # of a dataset
STEP_CHOICES = (8, 16, 32, 64, 96, 128, 256, 512)


def _widget_options(width: str) -> dict[str, object]:
    return {
        "layout": widgets.Layout(width=width, margin="2px 12px 2px 2px"),
        "style": {"description_width": "initial"},
    }


def choice(name: str, options: Sequence, value: object, width: str = "190px") -> widgets.Dropdown:
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


def number(
    name: str, value: int, low: int, high: int, width: str = "105px"
) -> widgets.BoundedIntText:
    """Return an integer field; the image is updated once a number is entered.

    Args:
        name: label of the widget.
        value: the initial value.
        low: the smallest value.
        high: the largest value.
        width: of the widget, as CSS.
    """
    return widgets.BoundedIntText(
        value=value, min=low, max=high, description=name, continuous_update=False,
        **_widget_options(width),
    )  # fmt: skip


def slider(
    name: str, options: Sequence, value: object, *, live: bool = False, width: str = "320px"
) -> widgets.SelectionSlider:
    """Return a slider over a row of values.

    Args:
        name: label of the widget.
        options: values, or pairs (label, value).
        value: the initial value.
        live: update the image while the slider moves.
        width: of the widget, as CSS.
    """
    return widgets.SelectionSlider(
        options=list(options), value=value, description=name, continuous_update=live,
        **_widget_options(width),
    )  # fmt: skip


def steps(value: int, options: Sequence[int] = STEP_CHOICES) -> widgets.SelectionSlider:
    """Return a slider over numbers of steps; the initial one is among them."""
    return slider("steps", sorted({*options, value}), value)


def switch(name: str, value: bool) -> widgets.Checkbox:
    """Return a check box."""
    return widgets.Checkbox(value=value, description=name, indent=False, **_widget_options("auto"))


def with_value(options: Sequence[float], value: float) -> list[float]:
    """Return options in ascending order, with the value added if it is not among them."""
    return sorted({*options, value})


def set_options(control: widgets.Dropdown | widgets.SelectionSlider, options: Sequence) -> None:
    """Offer other options; the chosen value is kept if possible, otherwise the first is chosen."""
    before = control.value
    control.options = list(options)
    if before in options:
        control.value = before


def set_value(name: str, control: Any, value: object) -> None:
    """Set the value of a control.

    Args:
        name: of the setting, for the message.
        control: the widget.
        value: the new value.

    Raises:
        InputError: it cannot have that value.
    """
    try:
        control.value = value
    except TraitError:
        options = [o[0] if isinstance(o, tuple) else o for o in getattr(control, "options", ())]
        expected = f"one of {', '.join(map(str, options))}" if options else "another type"
        raise InputError(f"{name} = {value!r}: expected {expected}") from None
    if control.value != value:
        raise InputError(f"{name} = {value!r}: expected {control.min} to {control.max}")


class ImageChoice:
    """A choice of one image by its thumbnail: from the dataset, a bundled photograph, or a file.

    Args:
        model: the network; one that is no `Model` takes the images of the dataset.
        dataset: images, with or without label maps, of any size; None offers photographs only.

    Attributes:
        control: the widget that chooses a name, and takes files.
        size: pixels of the network's square input, or (height, width).
        on_error: called with the error for a file that is not an image.
        originals: the added images in their own size, by name.
    """

    def __init__(self, model: nn.Module, dataset: Any = None) -> None:
        self.size: Any = model.card.input_size if isinstance(model, Model) else None
        if dataset is not None and not isinstance(dataset, ImageSet):
            dataset = as_labelled(dataset, self.size)
        self.dataset: Any = dataset
        channels, height, width = dataset.batch([0]).shape[1:] if dataset else (3, 0, 0)
        self.channels = model.channels if isinstance(model, Model) else channels
        self.size = self.size or (height, width)
        self._fits = images.height_and_width(self.size) == (height, width)
        self.on_error: Callable[[LabError], None] = lambda error: None
        self.added: dict[str, Float[Tensor, "c h w"]] = {}
        self.originals: dict[str, Float[Tensor, "c h w"]] = {}
        count = min(OFFERED_IMAGES, len(dataset)) if dataset else 0
        self.indices = {f"image {index}": index for index in range(count)}
        names = [*self.indices, *(images.PHOTOGRAPHS if self.channels in (1, 3) else ())]
        if not names:
            what = f"the network takes images of {self.channels} channels, as no photograph has"
            raise InputError(f"{what}; give a dataset")
        self.control = Thumbnails(label="image", options=names, value=names[0], files=True)
        self.control.on_file(self.receive)
        self._tiles: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Float[Tensor, "c h w"]:
        """Return the image of that name at the network's input size."""
        if name in self.added:
            return self.added[name]
        if self.dataset and name in self.indices:
            return images.resize(self.dataset.batch([self.indices[name]])[0], self.size)
        return images.to_channels(images.photograph(name, self.size), self.channels)

    def code(self, name: str) -> str:
        """Return a Python expression of the image of that name."""
        if name in self.added:
            read = f"data.images.load({name!r}, {self.size!r})"
        elif name in self.indices:
            read = f"dataset.batch([{self.indices[name]}])[0]"
            return read if self._fits else f"data.images.resize({read}, {self.size!r})"
        else:
            read = f"data.images.photograph({name!r}, {self.size!r})"
        return read if self.channels == 3 else f"data.images.to_channels({read}, {self.channels})"

    def add(self, name: str, image: Float[Tensor, "c h w"]) -> None:
        """Offer another image and choose it; the name of a different one gets a number."""
        plain, number = name, 1
        while name in self.control.options:
            if name in self.originals and torch.equal(self.originals[name], image):
                self.control.value = name
                return
            number += 1
            name = f"{plain} ({number})"
        self.originals[name], fitted = image, images.resize_and_crop(image, self.size)
        self.added[name] = images.to_channels(fitted, self.channels)
        self.control.options = [name, *self.control.options]
        self.control.value = name

    def keep(self, before: "ImageChoice") -> None:
        """Offer what was added to another choice, and choose the image that is chosen there."""
        for name, image in before.originals.items():
            self.add(name, image)
        if before.control.value in self.control.options:
            self.control.value = before.control.value

    def receive(self, name: str, content: bytes) -> None:
        """Add an image file by its name and bytes, and choose it."""
        with TemporaryDirectory() as folder:
            path = Path(folder, Path(name).name)
            try:
                path.write_bytes(content)
                self.add(path.name, images.read(path))
            except LabError as error:
                self.on_error(error)
            except (OSError, ValueError):
                self.on_error(InputError(f"{name[:80]!r} is no name of a file here; rename it"))

    def fill(self, request: Request) -> None:
        """Draw the thumbnails that are missing; a later request ends it."""
        if self.control.drawn == len(self.control.options):
            return
        for name in map(str, self.control.options):
            if not request.is_latest:
                return
            if name not in self._tiles:
                known = name in self.indices or name in self.added
                self._tiles[name] = square(self[name][None])[0] if known else _photograph(name)
        self.control.show(torch.stack([self._tiles[str(name)] for name in self.control.options]))


@cache
def _photograph(name: str) -> Tensor:
    """The thumbnail of a bundled photograph."""
    return square(images.photograph(name, SIZE)[None])[0]
