"""Another network for a panel, loaded by its name or by code of the user's own."""

import re
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets as widgets
from torch import nn

from ... import models
from ...core import InputError
from ...data import ImageSet, LabelledSet, ResizedImages, ResizedLabelled, Subset, images
from ...models import Model

IMAGES = 160  # of a dataset, which a panel reads at once for another network
HELP = "a name such as resnet18, mine.py:build, or __main__:net for a variable of the notebook"
_loading_code: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def load(source: str, **options: Any) -> Model:
    """Load a network, and remember the code that does it.

    Args:
        source: as for `models.load`.
        options: of `models.load`; those that are empty are left out.
    """
    options = {name: value for name, value in options.items() if value}
    model = models.load(source, **options)
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    _loading_code[model] = f"model = models.load({source!r}{given})"
    return model


def code(model: nn.Module) -> str:
    """Return the line that loads a network, or a comment that says which one is meant."""
    name = model.card.name if isinstance(model, Model) else type(model).__name__
    is_shipped = isinstance(model, Model) and model.card.accuracy is not None
    known = f"model = models.load({name!r})" if is_shipped and name in models.shipped() else ""
    return _loading_code.get(model, known or f"# model: {name}, as given to the panel")


def fit(dataset: Any, model: Model) -> Any:
    """Return some images of a dataset in the size that a network takes, with their label maps.

    Args:
        dataset: images, with or without label maps; None for none.
        model: the network.
    """
    if dataset is None:
        return None
    size, some = model.card.input_size, range(min(IMAGES, len(dataset)))
    if isinstance(dataset, ImageSet) and not isinstance(dataset, LabelledSet):
        read = dataset.batch
        return ResizedImages("", size, len(some), lambda i: images.resize(read(i), size))
    return ResizedLabelled(Subset(dataset, some), size)


class NetworkFields:
    """A button that shows the fields of what `models.load` takes.

    Args:
        on_load: called when a network is to be loaded.

    Attributes:
        toggle: the button.
        row: the fields.
        button: loads the network.
    """

    def __init__(self, on_load: Callable[[], None]) -> None:
        self.source = _field("network", "resnet18, mine.py:build", HELP)
        self.weights = _field("weights", "my.pth, or random", "weights file; random; download")
        self.size = _field("input size", "of the network", "pixels: 64, or 48x64")
        self.classes = _field("classes", "file", "text file with a class name per line")
        self.button = widgets.Button(description="Load", icon="check", tooltip="Load the network")
        self.button.on_click(lambda _: on_load())
        fields = [self.source, self.weights, self.size, self.classes, self.button]
        self.row = widgets.HBox(fields, layout=widgets.Layout(flex_flow="row wrap", display="none"))
        self.toggle = widgets.ToggleButton(
            description="Own network", icon="upload", tooltip="Show another network in this panel"
        )
        self.toggle.observe(self._toggle, "value")

    def _toggle(self, change: dict) -> None:
        self.row.layout.display = "flex" if change["new"] else "none"

    def read(self) -> tuple[str, dict[str, Any]]:
        """Return the network's name and the options of `models.load`.

        Raises:
            InputError: no name, or no size in pixels.
        """
        source, size = self.source.value.strip(), self.size.value.strip()
        if not source:
            raise InputError(f"no network is named; give {HELP}")
        if size and not re.fullmatch(r"\d+(\s*[x, ]\s*\d+)?", size):
            raise InputError(f"input size {size!r}: expected pixels, such as 64, or 48x64")
        pixels = tuple(map(int, re.findall(r"\d+", size)))
        options = {"weights": self.weights.value.strip(), "classes": self.classes.value.strip()}
        return source, options | {"input_size": pixels[0] if len(pixels) == 1 else pixels}


def _field(name: str, placeholder: str, tooltip: str) -> widgets.Text:
    return widgets.Text(
        description=name, placeholder=placeholder, tooltip=tooltip,
        layout=widgets.Layout(width="230px"), style={"description_width": "initial"},
    )  # fmt: skip
