"""Another network for a panel, loaded by its name or by code of the user's own."""

import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import ipywidgets as widgets
from torch import nn

from ... import models
from ...core import Images, InputError
from ...data import ImageSet, LabelledSet, ResizedImages, ResizedLabelled, Subset, images
from ...models import Model
from .worker import Stopped

IMAGES = 160  # of a dataset, which a panel reads at once for another network
HELP = "a name such as resnet18, mine.py:build, or __main__:net for a variable of the notebook"
# Code that adapts the dataset of a panel to another network.
ADAPT = "from cnnvis_lab.lab import explorers\ndataset = explorers.adapt(dataset, model)"
_loaded: WeakKeyDictionary[nn.Module, tuple[str, dict[str, Any]]] = WeakKeyDictionary()
_stop: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


def load(source: str, like: nn.Module, **options: Any) -> Model:
    """Load a network, and remember how.

    Args:
        source: as for `models.load`.
        like: a network; its input size is the first one tried for own modules without one.
        options: of `models.load`; those that are empty are left out.
    """
    options = {name: value for name, value in options.items() if value}
    if "input_size" not in options:
        first = [like.card.input_size] if isinstance(like, Model) else []
        if size := models.find_input_size(source, first):
            options["input_size"] = size
    model = models.load(source, **options)
    _loaded[model] = source, options
    return model


def code(model: nn.Module, data: str = "") -> str:
    """Return code that loads a network, or a comment that says which one is meant.

    Args:
        model: the network.
        data: what follows if it was loaded here: the code for data that a panel was not given.
    """
    if model in _loaded:
        source, options = _loaded[model]
        given = "".join(f", {name}={value!r}" for name, value in options.items())
        return f"model = models.load({source!r}{given})\n{data}".rstrip()
    name = model.card.name if isinstance(model, Model) else type(model).__name__
    is_shipped = isinstance(model, Model) and model.card.accuracy is not None
    if is_shipped and name in models.shipped():
        return f"model = models.load({name!r})"
    return f"# model: {name}, as given to the panel"


def describe(model: nn.Module) -> str:
    """Return a network's name and the size of its images; empty for what is no `Model`."""
    if not isinstance(model, Model):
        return ""
    height, width = images.height_and_width(model.card.input_size)
    return f"{model.card.name}, {height} x {width} pixels"


def adapt(dataset: Any, model: Model) -> Any:
    """Return some images of a dataset in the size that a network takes, with their label maps.

    Args:
        dataset: images, with or without label maps, also those adapted to another network; None for
            none.
        model: the network.
    """
    if dataset is None:
        return None
    dataset, size = getattr(dataset, "original", dataset), model.card.input_size
    some = _Stoppable(dataset, range(min(IMAGES, len(dataset))), _stop.get())
    if isinstance(dataset, ImageSet) and not isinstance(dataset, LabelledSet):

        def read(indices: Sequence[int]) -> Images:
            return images.resize(some.batch(indices), size)

        return _AdaptedImages("", size, len(some), read, dataset)
    return _AdaptedLabelled(some, size, dataset)


@dataclass(frozen=True)
class _AdaptedImages(ResizedImages):
    """Images of another size, and the dataset that they are from."""

    original: ImageSet


@dataclass(frozen=True)
class _AdaptedLabelled(ResizedLabelled):
    """Images of another size with label maps, and the dataset that they are from."""

    original: LabelledSet


@contextmanager
def stopped_by(stop: threading.Event) -> Generator[None]:
    """Let an event end all passes over datasets that are adapted inside the block."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


@dataclass(frozen=True)
class _Stoppable(Subset):
    """Some images of a set, which cannot be read any more once an event is set."""

    stop: threading.Event | None

    def batch(self, indices: Sequence[int]) -> Images:
        """Return images in [0, 1] by their index in this subset."""
        if self.stop and self.stop.is_set():
            raise Stopped
        return super().batch(indices)


class Loader:
    """Loads another network for a panel; what the panel needs of it is computed on a thread.

    Args:
        model: the panel's network.
        prepare: computes the panel for a network.
        show: shows that panel.
        report: shows a line of text.
        fail: shows an error.

    Attributes:
        fields: name the network.
    """

    def __init__(
        self,
        model: nn.Module,
        prepare: Callable[[Model], Any],
        show: Callable[[Any], None],
        report: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self._model, self._prepare, self._show = model, prepare, show
        self._report, self._fail = report, fail
        self.fields = NetworkFields(self._click, *_loaded.get(model, ("", {})))
        self._stop: threading.Event | None = None  # of what is being loaded
        self._thread: threading.Thread | None = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the network of the fields is shown, if one is being loaded."""
        if self._stop and self._thread:
            self._thread.join(seconds)

    def _click(self) -> None:
        """Load the network of the fields; the next click stops that."""
        if self._stop:
            self._stop.set()
            self._end(self._stop)
            self._report("loading was stopped; the panel is as it was")
            return
        try:
            source, options = self.fields.read()
            self._report(f"loading {source} ...")
            model = load(source, self._model, **options)
        except Exception as error:  # of any kind: the reader must see it
            self._fail(error)
            return
        self._report(f"preparing the panel for {source} ...")
        self._stop = threading.Event()
        self.fields.set_loading(True)
        self._thread = threading.Thread(target=self._run, args=(model, self._stop), daemon=True)
        self._thread.start()

    def _run(self, model: Model, stop: threading.Event) -> None:
        try:
            with stopped_by(stop):
                other = self._prepare(model)
            if not stop.is_set():
                self._show(other)
        except Exception as error:  # of any kind: the reader must see it
            if not stop.is_set():
                self._fail(error)
        self._end(stop)

    def _end(self, stop: threading.Event) -> None:
        if stop is self._stop:
            self._stop = None
            self.fields.set_loading(False)


class NetworkFields:
    """A button that shows the fields of what `models.load` takes.

    Args:
        on_click: called when a network is to be loaded, or loading is to be stopped.
        source: the network that is shown; empty if it was not loaded here.
        options: of `models.load`.

    Attributes:
        toggle: the button.
        row: the fields and the button that loads.
        texts: the fields.
        button: loads the network, or stops that.
    """

    def __init__(self, on_click: Callable[[], None], source: str, options: dict[str, Any]) -> None:
        self.source = _field("network", "resnet18, mine.py:build", HELP)
        self.weights = _field("weights", "my.pth, or random", "weights file; random; download")
        self.size = _field("input size", "found if empty", "pixels: 64, or 48x64")
        self.classes = _field("classes", "file", "text file with a class name per line")
        size = options.get("input_size", "")
        self.source.value = source
        self.size.value = "x".join(map(str, size)) if isinstance(size, tuple) else str(size)
        self.weights.value = str(options.get("weights", ""))
        self.classes.value = str(options.get("classes", ""))
        self.button = widgets.Button()
        self.button.on_click(lambda _: on_click())
        self.set_loading(False)
        self.texts = [self.source, self.weights, self.size, self.classes]
        fields = [*self.texts, self.button]
        self.row = widgets.HBox(fields, layout=widgets.Layout(flex_flow="row wrap", display="none"))
        self.toggle = widgets.ToggleButton(
            description="Own network", icon="upload", tooltip="Show another network in this panel"
        )
        self.toggle.observe(self._toggle, "value")

    def _toggle(self, change: dict) -> None:
        self.row.layout.display = "flex" if change["new"] else "none"

    def set_loading(self, loading: bool) -> None:
        """Let the button stop what it began, or begin."""
        if loading:
            label, icon, tooltip = "Stop loading", "stop", "Leave the panel as it is"
        else:
            label, icon, tooltip = "Load", "check", "Load the network"
        with self.button.hold_sync():
            self.button.description, self.button.icon, self.button.tooltip = label, icon, tooltip

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
