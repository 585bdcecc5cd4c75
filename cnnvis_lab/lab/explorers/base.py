"""Base class of the explorers: an image that is updated when controls change; also for scripts.

A panel's settings are plain values by name. Their image is computed on a background thread, see
`worker`; images of recent settings are cached. Nothing here uses pyplot, global random numbers or
print, which are not thread-safe.
"""

import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from IPython.display import Image, display
from torch import nn
from traitlets import TraitError

from ...core import InputError, LabError, files, not_found
from . import describe
from .board import EncodedView, View, encode
from .controls import ImageChoice
from .frame import Frame
from .units import UnitGrid
from .worker import LatestOnlyWorker, Request, isolated_copy

CACHE_SIZE = 128  # views a panel remembers
FIRST_ANSWER = 1.0  # seconds that a cell waits for what it shows
SECOND = "second"  # the setting of the second unit
SECOND_HELP = "Another unit, shown beside the first; -1 for none. In the grid: shift and click."


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

    def __init__(
        self,
        model: nn.Module,
        controls: Mapping[str, Any],
        images: ImageChoice | None = None,
        units: UnitGrid | None = None,
    ) -> None:
        self.model: Any = model  # a Model in most panels
        self.message = ""
        self.controls: dict[str, Any] = dict(controls)
        self._images, self._units = images, units
        if units:  # the second unit's field follows that of the first
            names = [*self.controls]
            names.insert(names.index("unit") + 1, SECOND)
            self.controls = {name: self.controls.get(name, units.second) for name in names}
        isolated_copy(model)  # copied now, while nothing else uses the network
        self._worker = LatestOnlyWorker(self._new_request, self._compute)
        self._held, self._cache, self._answered = False, {}, threading.Event()
        self._shown: EncodedView | None = None
        self._shown_settings: dict[str, Any] = {}
        lines = describe.settings_help(type(self).draw) | {SECOND: SECOND_HELP}
        choosers = [units.thumbnails] if units else []
        self._frame = Frame(self.title, self.controls, lines, choosers, self.slow)
        self._frame.on_click(self._click)
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

    def network(self, settings: Mapping[str, Any]) -> nn.Module:
        """Return the network that the settings refer to."""
        return self.model

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
                self._set(name, value)

    @contextmanager
    def hold_requests(self) -> Generator[None]:
        """Change several settings inside the block; the image is updated once, afterwards."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
            self.request()

    def _set(self, name: str, value: object) -> None:
        control = self.controls[name]
        try:
            control.value = value
        except TraitError:
            options = [o[0] if isinstance(o, tuple) else o for o in getattr(control, "options", ())]
            expected = f"one of {', '.join(map(str, options))}" if options else "another type"
            raise InputError(f"{name} = {value!r}: expected {expected}") from None
        if control.value != value:
            raise InputError(f"{name} = {value!r}: expected {control.min} to {control.max}")

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
        settings = self.settings
        second = settings.pop(SECOND, -1)
        parts = [*self.imports, describe.model_code(self.network(settings))]
        parts.append(self._code_for(SimpleNamespace(**settings)))
        if second >= 0:
            other = self._code_for(SimpleNamespace(**settings | {"unit": second}))
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
        path = Path(path)
        files.write_atomically(path, self._shown.to_png(self._facts()))
        return path

    def _facts(self) -> dict[str, str]:
        settings = json.dumps(self._shown_settings or self.settings, default=str)
        facts = {"title": self.title, "settings": settings, "description": self.message}
        return facts | {"code": self.code}

    def _click(self, name: str) -> None:
        if name == "stop":
            self.stop()
        elif name == "copy":
            self._frame.show_code(self.code)
        elif self._shown:
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
        if interactive is None:
            interactive = os.environ.get("CNNVIS_INTERACTIVE") != "0"
        if interactive:
            self._answered.clear()
            self.request()
            self._answered.wait(FIRST_ANSWER)
        else:
            try:
                self._show_result(self._render(Request(self.settings)))
            except LabError as error:
                self._show_error(error)
        png = {"image/png": b64encode(self.image).decode()} if self.image else {}
        if interactive:
            bundle = (self.panel._repr_mimebundle_() or {}) | png
            display(bundle, raw=True, metadata={"image/png": {"alt": self._alt()}})
            return
        if png:
            display(Image(data=self.image, alt=self._alt()))
        display({"text/plain": self.message}, raw=True)

    def _alt(self) -> str:
        """Describe what is shown now."""
        return f"{self.alt} {self.message}".strip()

    def _new_request(self, settings: dict[str, Any]) -> Request:
        def preview(view: View) -> None:
            self._shown_settings = settings
            self._preview(view)
            self._fill(request)

        request = Request(settings, preview, self._frame.show_progress)
        return request

    def _compute(self, request: Request) -> None:
        """Compute and show a request; runs on the worker's thread."""
        self._frame.set_busy(True)
        try:
            if self._key(request.settings) not in self._cache:
                self._report("drawing ...")
            result = self._render(request)
            stopped = request.should_stop()
            self._if_latest(request, lambda: self._show_result(result, stopped))
            self._fill(request)
        except Exception as error:  # of any kind: the reader must see it
            reason = error
            self._if_latest(request, lambda: self._show_error(reason))
        finally:
            self._frame.set_busy(False)

    def _fill(self, request: Request) -> None:
        """Draw the thumbnails to choose from; done after the answer, which must not wait."""
        settings, images = request.settings, self._images
        network = isolated_copy(self.network(settings))
        with network.lock:
            request.model = network.model
            if self._units and images and request.is_latest:
                name = settings["image"]
                self._units.fill(request, settings["layer"], name, images[name])
        if images:
            images.fill(request)

    def _if_latest(self, request: Request, act: Callable[[], None]) -> None:
        with self._worker.lock:
            if request.is_latest:
                act()

    def _render(self, request: Request) -> EncodedView:
        key = self._key(request.settings)
        if result := self._cache.get(key):
            return result
        network = isolated_copy(self.network(request.settings))
        with network.lock:
            request.model = network.model
            result = encode(self._draw(request))
        if not request.should_stop():
            self._cache[key] = result
            while len(self._cache) > CACHE_SIZE:
                self._cache.pop(next(iter(self._cache)), None)
        return result

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
        return tuple((name, value) for name, value in settings.items() if name not in unused)

    def _disable_unused(self) -> None:
        unused = self.unused_settings(self.settings)
        for name, control in self.controls.items():
            control.disabled = name in unused

    def _preview(self, view: View) -> None:
        self._show_view(encode(view))
        self._report(view.text)

    def _show_result(self, result: EncodedView, stopped: bool = False) -> None:
        self._shown_settings = self.settings
        self._show_view(result)
        self._report(f"{result.text} (stopped early)" if stopped else result.text)

    def _show_view(self, view: EncodedView) -> None:
        self._shown = view
        self._frame.show_view(view)

    def _show_error(self, error: Exception) -> None:
        kind = "" if isinstance(error, LabError) else f"{type(error).__name__}: "
        self._report(kind + " ".join(str(error).split()), failed=True)

    def _report(self, text: str, failed: bool = False) -> None:
        self.message = text
        self._frame.report(text, self._alt(), failed)
        if failed or self._shown:
            self._answered.set()
