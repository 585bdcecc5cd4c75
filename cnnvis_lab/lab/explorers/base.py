"""Explorers: panels of controls beside a picture that follows them, and the same for scripts.

A panel's settings are plain values by name. What they ask for is computed on a worker thread, see
`requests`; a setting seen before is shown from memory. Nothing here uses pyplot, the global random
numbers or print, none of which bear several threads.
"""

import html
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import ipywidgets as widgets
from IPython.display import Image, display
from torch import nn
from traitlets import TraitError

from ...core import InputError, LabError, not_found
from ..figures import TILE_SIZE, Tile, render_png
from .worker import LatestOnlyWorker, Request, isolated_copy

CACHE_SIZE = 128  # pictures a panel remembers


@dataclass(frozen=True)
class View:
    """What a panel shows: tiles in rows, a line of text, and how large a tile is, in pixels."""

    rows: Sequence[Sequence[Tile]]
    text: str = ""
    cell: int = TILE_SIZE


class _RenderedView(NamedTuple):
    png: bytes
    text: str


class Explorer:
    """A panel; each method has a class of its own that says how its picture is drawn.

    Attributes:
        title: stands above it.
        alt: what its picture shows, for those who do not see it.
        slow: whether a request may take seconds: there is then a bar, and a button to stop.
        model: the network it looks into.
        controls: name -> widget whose `.value` is the setting of that name.
        panel: all of it, to be displayed.
        message: the line of text on show.
    """

    title: ClassVar[str] = ""
    alt: ClassVar[str] = ""
    slow: bool = False

    def __init__(
        self,
        model: nn.Module,
        controls: Mapping[str, widgets.ValueWidget],
        beside: Sequence[widgets.Widget] = (),
    ) -> None:
        self.model, self.controls, self.message = model, dict(controls), ""
        isolated_copy(model)  # copied now, while nothing else looks into it
        self._latest = LatestOnlyWorker(
            lambda s: Request(s, self._glimpse, self._advance), self._answer
        )
        self._held, self._kept = False, {}
        self._image = widgets.Image(format="png")
        self._status = widgets.HTML()
        self._bar = widgets.IntProgress(max=1, layout=widgets.Layout(visibility="hidden"))
        self._stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        self._stop.on_click(lambda _: self.stop())
        self.panel = self._laid_out(beside)
        for control in self.controls.values():
            control.observe(lambda _: self.request(), "value")
        self._grey_out()

    def _laid_out(self, beside: Sequence[widgets.Widget]) -> widgets.VBox:
        flow = widgets.Layout(flex_flow="row wrap", align_items="center")
        heading = widgets.HTML(f"<b>{html.escape(self.title)}</b>")
        row = widgets.HBox([*self.controls.values(), *beside], layout=flow)
        below = [widgets.HBox([self._stop, self._bar], layout=flow)] if self.slow else []
        panel = widgets.VBox([heading, row, *below, self._image, self._status])
        parts = {"explorer": panel, "picture": self._image, "status": self._status}
        for name, part in parts.items():
            part.add_class(f"cnnvis-{name}")
        return panel

    def draw(self, request: Request, **settings: object) -> View:
        """Draw what the settings ask for; every class has its own."""
        raise NotImplementedError

    def network(self, settings: Mapping[str, object]) -> nn.Module:
        """Return the network that settings are about."""
        return self.model

    def unused_settings(self, settings: Mapping[str, object]) -> set[str]:
        """Return the settings that change nothing while the others are as they are."""
        return set()

    @property
    def settings(self) -> dict[str, object]:
        """Name -> value of every setting, as they are now."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **settings: object) -> None:
        """Change settings in the order given; the picture follows once.

        Raises:
            NameNotFound: no such setting.
            InputError: a value the setting cannot have.
        """
        with self.hold_requests():
            for name, value in settings.items():
                if name not in self.controls:
                    raise not_found("setting", name, self.controls)
                self._set(name, value)

    @contextmanager
    def hold_requests(self) -> Iterator[None]:
        """Change several settings inside the block; the picture follows once, afterwards."""
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
            wanted = f"one of {', '.join(map(str, options))}" if options else "another kind"
            raise InputError(f"{name} = {value!r}: expected {wanted}") from None
        if control.value != value:
            raise InputError(f"{name} = {value!r}: expected {control.min} to {control.max}")

    def request(self) -> None:
        """Ask for the picture of the present settings; whatever was asked before is dropped."""
        if not self._held:
            self._grey_out()
            self._latest.request(self.settings)

    def stop(self) -> None:
        """End the request at work with what there is."""
        self._latest.stop()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the picture shows the settings; return whether it does."""
        return self._latest.wait(seconds)

    def snapshot(self) -> bytes:
        """Draw the present settings here and now, and return the picture as PNG.

        Raises:
            LabError: what the panel would show as an error.
        """
        return self._drawn(Request(self.settings)).png

    @property
    def picture(self) -> bytes:
        """The picture on show, as PNG; empty before the first."""
        return bytes(self._image.value)

    def show(self, interactive: bool = True) -> None:
        """Display the panel, or where nobody can move it, the picture of its settings.

        The panel comes with its picture in PNG, which is what a page exported from the notebook
        shows, and any front end that knows no widgets.

        Args:
            interactive: whether there is a front end; False displays the picture alone.
        """
        try:
            self._put(self._drawn(Request(self.settings)))
        except LabError as error:
            self._failed(error)
        shown = {"image/png": b64encode(self.picture).decode()} if self.picture else {}
        if interactive:
            bundle = {**self.panel._repr_mimebundle_(), **shown}
            display(bundle, raw=True, metadata={"image/png": {"alt": self.alt}})
            return
        if shown:
            display(Image(data=self.picture, alt=self.alt))
        display({"text/plain": self.message}, raw=True)

    def _answer(self, request: Request) -> None:
        """Show what a request asks for; runs on the worker's thread."""
        self._busy(True)
        try:
            if self._key(request.settings) not in self._kept:
                self._tell("drawing ...")
            drawn = self._drawn(request)
        except Exception as error:  # whatever it is, the reader must see it
            reason = error
            self._if_latest(request, lambda: self._failed(reason))
        else:
            self._if_latest(request, lambda: self._put(drawn, stopped=request.should_stop()))
        finally:
            self._busy(False)

    def _if_latest(self, request: Request, act: Callable[[], None]) -> None:
        with self._latest.state:
            if request.latest:
                act()

    def _drawn(self, request: Request) -> _RenderedView:
        key = self._key(request.settings)
        if known := self._kept.get(key):
            return known
        network = isolated_copy(self.network(request.settings))
        with network.lock:
            request.model = network.model
            view = self.draw(request, **request.settings)
        drawn = _RenderedView(render_png(view.rows, view.cell), view.text)
        if not request.should_stop():
            self._kept[key] = drawn
            while len(self._kept) > CACHE_SIZE:
                self._kept.pop(next(iter(self._kept)), None)
        return drawn

    def _key(self, settings: Mapping[str, object]) -> tuple:
        idle = self.unused_settings(settings)
        return tuple((name, value) for name, value in settings.items() if name not in idle)

    def _grey_out(self) -> None:
        idle = self.unused_settings(self.settings)
        for name, control in self.controls.items():
            control.disabled = name in idle

    def _glimpse(self, view: View) -> None:
        self._place(render_png(view.rows, view.cell))
        self._tell(view.text)

    def _advance(self, done: int, total: int) -> None:
        self._bar.max, self._bar.value = total, done

    def _busy(self, busy: bool) -> None:
        self._stop.disabled = not busy
        self._bar.value = 0
        self._bar.layout.visibility = "visible" if busy else "hidden"

    def _put(self, drawn: _RenderedView, stopped: bool = False) -> None:
        self._place(drawn.png)
        self._tell(f"{drawn.text} (stopped early)" if stopped else drawn.text)

    def _place(self, picture: bytes) -> None:
        """Show a picture in its own size, which stands in its header."""
        width = int.from_bytes(picture[16:20], "big")
        self._image.layout.width, self._image.layout.max_width = f"{width}px", "100%"
        self._image.layout.object_fit = "contain"
        self._image.value = picture

    def _failed(self, error: Exception) -> None:
        kind = "" if isinstance(error, LabError) else f"{type(error).__name__}: "
        self._tell(kind + " ".join(str(error).split()), failed=True)

    def _tell(self, text: str, failed: bool = False) -> None:
        color = "var(--jp-error-color1, #b00020)" if failed else "inherit"
        self.message = text
        self._status.value = f'<span style="color: {color}">{html.escape(text)}</span>'
