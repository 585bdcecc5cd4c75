"""Base class of the explorers: an image that is updated when controls change; also for scripts.

A panel's settings are plain values by name. Their image is computed on a background thread, see
`worker`; images of recent settings are cached. Nothing here uses pyplot, global random numbers or
print, which are not thread-safe.
"""

import html
import os
from base64 import b64encode
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import ipywidgets as widgets
from IPython.display import Image, display
from torch import nn
from traitlets import TraitError

from ...core import InputError, LabError, not_found
from ..figures import TILE_SIZE, Tile, render_png
from .worker import LatestOnlyWorker, Request, isolated_copy

CACHE_SIZE = 128  # images a panel remembers


@dataclass(frozen=True)
class View:
    """What a panel shows.

    Attributes:
        rows: rows of images with captions.
        text: a line below them.
        cell: size of an image, in pixels.
    """

    rows: Sequence[Sequence[Tile]]
    text: str = ""
    cell: int = TILE_SIZE


class _Rendered(NamedTuple):
    png: bytes
    text: str


class Explorer:
    """A panel; each method has a subclass that draws its view.

    Attributes:
        title: heading of the panel.
        alt: description of the image for readers who cannot see it.
        slow: whether a request can take seconds: the panel then has a bar and a button to stop.
        model: the network that is explored.
        controls: name -> widget whose `.value` is the setting of that name.
        panel: the whole widget, to be displayed.
        message: the line of text below the image.
    """

    title: ClassVar[str] = ""
    alt: ClassVar[str] = ""
    slow: bool = False

    def __init__(
        self,
        model: nn.Module,
        controls: Mapping[str, Any],
        extra_widgets: Sequence[widgets.Widget] = (),
    ) -> None:
        self.model: Any = model  # a Model in most panels
        self.message = ""
        self.controls: dict[str, Any] = dict(controls)
        isolated_copy(model)  # copied now, while nothing else uses the network
        self._worker = LatestOnlyWorker(self._new_request, self._compute)
        self._held, self._cache = False, {}
        self._image = widgets.Image(format="png")
        self._status = widgets.HTML()
        self._bar = widgets.IntProgress(max=1, layout=widgets.Layout(visibility="hidden"))
        self._stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self._stop.on_click(lambda _: self.stop())
        self.panel = self._layout(extra_widgets)
        for control in self.controls.values():
            control.observe(lambda _: self.request(), "value")
        self._disable_unused()

    def _layout(self, extra_widgets: Sequence[widgets.Widget]) -> widgets.VBox:
        flow = widgets.Layout(flex_flow="row wrap", align_items="center")
        heading = widgets.HTML(f"<b>{html.escape(self.title)}</b>")
        row = widgets.HBox([*self.controls.values(), *extra_widgets], layout=flow)
        below = [widgets.HBox([self._stop, self._bar], layout=flow)] if self.slow else []
        panel = widgets.VBox([heading, row, *below, self._image, self._status])
        parts = {"explorer": panel, "image": self._image, "status": self._status}
        for name, part in parts.items():
            part.add_class(f"cnnvis-{name}")
        return panel

    def draw(self, request: Request, *args: Any, **settings: Any) -> View:
        """Draw the view of the settings; every subclass names its settings as parameters.

        Args:
            request: the request that is being computed.
            args: stands for the settings that a subclass names; never passed here.
            settings: name -> value.
        """
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
        """Draw the current settings in this thread, and return the image as PNG.

        Raises:
            LabError: what the panel would show as an error.
        """
        return self._render(Request(self.settings)).png

    @property
    def image(self) -> bytes:
        """The displayed image as PNG; empty before the first."""
        return bytes(self._image.value)

    def show(self, interactive: bool | None = None) -> None:
        """Display the panel, or without a front end, the image of its settings.

        The panel is displayed with its image as PNG, which is what an exported page and front ends
        without widgets show.

        Args:
            interactive: whether there is a front end; False displays the image only; None: yes,
                unless the environment variable CNNVIS_INTERACTIVE is 0, as in `cnnvis render`.
        """
        try:
            self._show_result(self._render(Request(self.settings)))
        except LabError as error:
            self._show_error(error)
        if interactive is None:
            interactive = os.environ.get("CNNVIS_INTERACTIVE") != "0"
        png = {"image/png": b64encode(self.image).decode()} if self.image else {}
        if interactive:
            bundle = (self.panel._repr_mimebundle_() or {}) | png
            display(bundle, raw=True, metadata={"image/png": {"alt": self.alt}})
            return
        if png:
            display(Image(data=self.image, alt=self.alt))
        display({"text/plain": self.message}, raw=True)

    def _new_request(self, settings: dict[str, Any]) -> Request:
        return Request(settings, self._preview, self._show_progress)

    def _compute(self, request: Request) -> None:
        """Compute and show a request; runs on the worker's thread."""
        self._set_busy(True)
        try:
            if self._key(request.settings) not in self._cache:
                self._report("drawing ...")
            result = self._render(request)
        except Exception as error:  # of any kind: the reader must see it
            reason = error
            self._if_latest(request, lambda: self._show_error(reason))
        else:
            stopped = request.should_stop()
            self._if_latest(request, lambda: self._show_result(result, stopped))
        finally:
            self._set_busy(False)

    def _if_latest(self, request: Request, act: Callable[[], None]) -> None:
        with self._worker.lock:
            if request.is_latest:
                act()

    def _render(self, request: Request) -> _Rendered:
        key = self._key(request.settings)
        if result := self._cache.get(key):
            return result
        network = isolated_copy(self.network(request.settings))
        with network.lock:
            request.model = network.model
            view = self.draw(request, **request.settings)
        result = _Rendered(render_png(view.rows, view.cell), view.text)
        if not request.should_stop():
            self._cache[key] = result
            while len(self._cache) > CACHE_SIZE:
                self._cache.pop(next(iter(self._cache)), None)
        return result

    def _key(self, settings: Mapping[str, Any]) -> tuple:
        unused = self.unused_settings(settings)
        return tuple((name, value) for name, value in settings.items() if name not in unused)

    def _disable_unused(self) -> None:
        unused = self.unused_settings(self.settings)
        for name, control in self.controls.items():
            control.disabled = name in unused

    def _preview(self, view: View) -> None:
        self._show_image(render_png(view.rows, view.cell))
        self._report(view.text)

    def _show_progress(self, done: int, total: int) -> None:
        self._bar.max, self._bar.value = total, done

    def _set_busy(self, busy: bool) -> None:
        self._stop.disabled = not busy
        self._bar.value = 0
        self._bar.layout.visibility = "visible" if busy else "hidden"

    def _show_result(self, result: _Rendered, stopped: bool = False) -> None:
        self._show_image(result.png)
        self._report(f"{result.text} (stopped early)" if stopped else result.text)

    def _show_image(self, png: bytes) -> None:
        """Show an image at its own width, which its header states."""
        width = int.from_bytes(png[16:20], "big")
        self._image.layout.width, self._image.layout.max_width = f"{width}px", "100%"
        self._image.layout.object_fit = "contain"
        self._image.value = png

    def _show_error(self, error: Exception) -> None:
        kind = "" if isinstance(error, LabError) else f"{type(error).__name__}: "
        self._report(kind + " ".join(str(error).split()), failed=True)

    def _report(self, text: str, failed: bool = False) -> None:
        color = "var(--jp-error-color1, #b00020)" if failed else "inherit"
        self.message = text
        self._status.value = f'<span style="color: {color}">{html.escape(text)}</span>'
