"""Base class of the explorers: an image that is updated when controls change; also for scripts.

Views are computed on a background thread, see `worker`, and recent ones are cached. Nothing here
uses pyplot, global random numbers or print, which are not thread-safe.
"""

import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from IPython.display import Image, display
from torch import nn

from ...core import InputError, LabError, files, not_found
from ...models import Model
from . import networks
from .board import EncodedView, View, encode
from .controls import ImageChoice, set_value
from .frame import Frame, settings_help
from .units import HELP, SECOND, Activity, UnitGrid
from .worker import LatestOnlyWorker, Request, cached, isolated_copy

CACHE_SIZE = 128  # views a panel remembers
FIRST_ANSWER = 1.0  # seconds that a cell waits for what it shows


class Explorer:
    """A panel; each method has a subclass that draws its view.

    Attributes:
        title: heading of the panel.
        alt: description of the view for readers who cannot see it.
        imports: lines of Python code that `code` needs.
        slow: whether a request can take seconds: the panel then has a bar and a button to stop.
        model: the network that is explored.
        controls: name -> widget whose `.value` is the setting of that name.
        panel: the whole widget, to be displayed.
        message: the line of text below the images.
    """

    title: ClassVar[str] = ""
    alt: ClassVar[str] = ""
    imports: ClassVar[tuple[str, ...]] = ()
    slow: bool = False
    model: Any  # a Model in most panels

    def __init__(
        self,
        model: nn.Module,
        controls: Mapping[str, Any],
        images: ImageChoice | None = None,
        units: UnitGrid | None = None,
    ) -> None:
        self.model, self.message, self._held = model, "", False
        self.controls: dict[str, Any] = dict(controls)
        self._grid: Any = units
        self.activity = units.activity if units else Activity()
        if units:
            unit = {"layer": units.layer, "unit": units.unit, SECOND: units.second}
            self.controls = unit | self.controls
        if images:
            self.chosen, images.on_error = images, self._show_error
            self.controls["image"] = images.control
        isolated_copy(model)  # copied now, while nothing else uses the network
        self._worker = LatestOnlyWorker(self._new_request, self._compute)
        self._answered, self._cache, self._shown_settings = threading.Event(), {}, {}
        self._shown: EncodedView | None = None
        shown = self.controls | ({"grid": units.thumbnails} if units else {})
        lines = settings_help(type(self).draw) | HELP
        self._loader = networks.Loader(
            model, self.for_network, self._become, self._report, self._show_error
        )
        fields = self._loader.fields if type(self).for_network != Explorer.for_network else None
        subject = "" if "network" in shown else networks.describe(model)
        self._frame = Frame(
            self.title, subject, shown, lines, self._click, slow=self.slow, network=fields
        )
        self.panel = self._frame.panel
        for control in self.controls.values():
            control.observe(lambda _: self.request(), "value")
        self._disable_unused()

    def draw(self, request: Request, *args: Any, **settings: Any) -> View:
        """Draw the view of the settings; every subclass names its settings as parameters.

        Args:
            request: the request that is being computed.
            args: stands for the settings that a subclass names; never passed here.
            settings: name -> value.
        """
        raise NotImplementedError

    def _code_for(self, at: SimpleNamespace) -> str:
        """Return code that assigns to `result` what the panel shows at some settings."""
        raise NotImplementedError

    def _data_code(self) -> str:
        """Return code that computes for a loaded network what else the panel was given."""
        return ""

    def network(self, settings: Mapping[str, Any]) -> nn.Module:
        """Return the network that the settings refer to."""
        return self.model

    def for_network(self, model: Model) -> "Explorer":
        """Return this panel for another network: what it needs is computed now."""
        raise NotImplementedError

    def load(self, source: str, **options: Any) -> None:
        """Show another network in this panel.

        Args:
            source: a network as for `models.load`.
            options: other arguments of `models.load`: weights, input_size, classes, and so on.

        Raises:
            LabError: it cannot be loaded, or the method cannot be applied to it.
        """
        self._become(self.for_network(networks.load(source, self.model, **options)))

    def _become(self, other: "Explorer") -> None:
        """Show another panel instead of this one, in the same place and with the same image."""
        self.stop()
        self._worker.wait()
        self.panel.children, other.panel = other.panel.children, self.panel
        before = self.chosen
        self.__dict__.update(other.__dict__)
        other.__dict__ = self.__dict__  # whoever has either object has the new panel
        with self.hold_requests():
            self.chosen.keep(before)

    def unused_settings(self, settings: Mapping[str, Any]) -> set[str]:
        """Return the settings that have no effect with these values of the others."""
        return set()

    @property
    def settings(self) -> dict[str, Any]:
        """The current value of every setting, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **settings: Any) -> None:
        """Change settings in the given order; the image is updated once.

        Raises:
            NameNotFound: an unknown setting.
            InputError: a value that the setting cannot have.
        """
        with self.hold_requests():
            for name, value in settings.items():
                if name not in self.controls:
                    raise not_found("setting", name, self.controls)
                set_value(name, self.controls[name], value)

    @contextmanager
    def hold_requests(self) -> Generator[None]:
        """Change several settings inside the block; the image is updated once, afterwards."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
            self.request()

    def request(self) -> None:
        """Request the image of the current settings; an earlier request is discarded."""
        if not self._held:
            self._disable_unused()
            self._worker.submit(self.settings)

    def stop(self) -> None:
        """End the running request with its intermediate result."""
        self._worker.stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the image shows the settings; return whether it does."""
        self._loader.wait(seconds)
        return self._worker.wait(seconds)

    def snapshot(self) -> bytes:
        """Draw the current settings in this thread, and return the view as PNG.

        Raises:
            LabError: what the panel would show as an error.
        """
        return self._render(Request(self.settings)).to_png()

    @property
    def image(self) -> bytes:
        """The displayed view as PNG; empty before the first."""
        return self._shown.to_png() if self._shown else b""

    @property
    def code(self) -> str:
        """Python code that computes what the panel shows, and assigns it to `result`.

        What was given to the panel is called as in its documentation: model, dataset, and so on.
        """
        at, loading = self.settings, networks.code(self.network(self.settings), self._data_code())
        parts = [*self.imports, loading, self._code_for(SimpleNamespace(**at))]
        if at.get(SECOND, -1) >= 0:
            other = self._code_for(SimpleNamespace(**at | {"unit": at[SECOND]}))
            parts.append(other.replace("result =", "second ="))
        return "\n".join(parts)

    def save(self, path: str | Path) -> Path:
        """Write the displayed view as PNG, with title, settings, message and code as its texts.

        Args:
            path: the file.

        Raises:
            InputError: nothing is displayed.
        """
        if not self._shown:
            raise InputError("no view to save yet; call show(), or request() and wait()")
        files.write_atomically(path := Path(path), self._shown.to_png(self._facts()))
        return path

    def _facts(self) -> dict[str, str]:
        settings = json.dumps(self._shown_settings or self.settings, default=str)
        texts = {"title": self.title, "description": self.message, "code": self.code}
        return texts | {"settings": settings}

    def _click(self, name: str) -> None:
        if name == "stop":
            self.stop()
        elif name == "copy":
            self._frame.show_code(self.code)
        elif name == "save" and self._shown:
            words = re.findall(r"\w+", f"{type(self).__name__} {self.message[:40]}")
            self._frame.board.save(f"{'_'.join(words)}.png", self._shown.to_png(self._facts()))

    def show(self, interactive: bool | None = None) -> None:
        """Display the panel, or without a front end, the view of its settings.

        The panel is displayed as soon as there is something to see, with this as PNG, which an
        exported page and front ends without widgets show.

        Args:
            interactive: whether there is a front end; False displays an image only; None: yes,
                unless the environment variable CNNVIS_INTERACTIVE is 0, as in `cnnvis render`.
        """
        if interactive or (interactive is None and os.environ.get("CNNVIS_INTERACTIVE") != "0"):
            self._answered.clear()
            self.request()
            self._answered.wait(FIRST_ANSWER)
            png = {"image/png": b64encode(self.image).decode()} if self.image else {}
            bundle = (self.panel._repr_mimebundle_() or {}) | png
            display(bundle, raw=True, metadata={"image/png": {"alt": self._alt()}})
            return
        try:
            self._show_result(self._render(Request(self.settings)))
            display(Image(data=self.image, alt=self._alt()))
        except LabError as error:
            self._show_error(error)
        display({"text/plain": self.message}, raw=True)

    def _alt(self) -> str:
        return f"{self.alt} {self.message}".strip()

    def _new_request(self, settings: dict[str, Any]) -> Request:
        def preview(view: View) -> None:
            self._shown_settings = settings
            self._preview(view)
            self._fill(request)

        return (request := Request(settings, preview, self._frame.show_progress))

    def _compute(self, request: Request) -> None:
        """Compute and show a request; runs on the worker's thread."""
        self._frame.set_busy(True)
        try:
            if self._key(request.settings) not in self._cache:
                self._report("drawing ...")
            result = self._render(request)
            with self._worker.lock:
                if request.is_latest:
                    self._show_result(result, request.should_stop())
            self._fill(request)
        except Exception as error:  # of any kind: the reader must see it
            with self._worker.lock:
                if request.is_latest:
                    self._show_error(error)
        finally:
            self._frame.set_busy(False)

    def _fill(self, request: Request) -> None:
        """Draw the thumbnails to choose from; done after the answer, which must not wait."""
        if "image" not in (settings := request.settings):
            return
        if self._grid and request.is_latest:
            with request.using(self.network(settings)):
                name = settings["image"]
                self._grid.fill(request, settings["layer"], name, self.chosen[name])
        self.chosen.fill(request)

    def _render(self, request: Request) -> EncodedView:
        def draw() -> EncodedView:
            with request.using(self.network(request.settings)):
                return encode(self._draw(request))

        return cached(self._cache, self._key(request.settings), draw, request, CACHE_SIZE)

    def _draw(self, request: Request) -> View:
        """Draw the settings' view, and beside it that of the second unit, if there is one."""
        settings = dict(request.settings)
        second = settings.pop(SECOND, -1)
        view = self.draw(request, **settings)
        if second < 0 or request.should_stop():
            return view
        names = [f"unit {unit}" for unit in (settings["unit"], second)]
        request.arrange = lambda other: view.beside(other, names)
        return request.arrange(self.draw(request, **settings | {"unit": second}))

    def _key(self, settings: Mapping[str, Any]) -> tuple:
        unused = self.unused_settings(settings)
        return tuple((name, settings[name]) for name in settings if name not in unused)

    def _disable_unused(self) -> None:
        for name, control in self.controls.items():
            control.disabled = name in self.unused_settings(self.settings)

    def _preview(self, view: View) -> None:
        self._show_view(encode(view), view.text)

    def _show_result(self, result: EncodedView, stopped: bool = False) -> None:
        self._shown_settings = self.settings
        self._show_view(result, f"{result.text} (stopped early)" if stopped else result.text)

    def _show_view(self, view: EncodedView, text: str) -> None:
        self._shown = view
        self._frame.show_view(view)
        self._report(text)

    def _show_error(self, error: Exception) -> None:
        kind = "" if isinstance(error, LabError) else f"{type(error).__name__}: "
        self._report(kind + " ".join(str(error).split()), failed=True)

    def _report(self, text: str, failed: bool = False) -> None:
        self.message = text
        self._frame.report(text, self._alt(), failed)
        if failed or self._shown:
            self._answered.set()
