"""The widgets of a panel around its controls: buttons, the board of images, the line below it."""

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from . import describe
from .board import Board, EncodedView
from .thumbnails import Thumbnails


class Frame:
    """The panel of an explorer.

    Args:
        title: heading of the panel.
        controls: name -> control; thumbnails are placed below the others.
        lines: name -> line of help of the control.
        choosers: thumbnails that are no settings.
        slow: whether there is a bar and a button to stop.

    Attributes:
        panel: the whole widget.
        board: the images.
        status: the line below them.
        bar: the progress.
        stop: the button that ends a request.
        save: the button that saves the view.
        copy: the button that shows and copies the code.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, Any],
        lines: Mapping[str, str],
        choosers: list[Thumbnails],
        slow: bool,
    ) -> None:
        self.board, self.status, self._code = Board(), widgets.HTML(), widgets.HTML()
        self.bar = widgets.IntProgress(max=1)
        self.bar.layout.visibility, self.bar.layout.width = "hidden", "160px"
        self.stop = _button("Stop", "stop", "End the computation with its intermediate result")
        self.stop.disabled = True
        about = "Save the view as PNG, with its settings and code as texts of the file"
        self.save = _button("Save PNG", "download", about)
        about = "Show and copy the Python code that computes what the panel shows"
        self.copy = _button("Copy as code", "copy", about)
        flow = widgets.Layout(flex_flow="row wrap", align_items="center")
        fields = [c for c in controls.values() if not isinstance(c, Thumbnails)]
        choosers = [c for c in controls.values() if isinstance(c, Thumbnails)] + choosers
        tools = [self.stop, self.save, self.copy, self.bar] if slow else [self.save, self.copy]
        self.panel = widgets.VBox(
            [
                widgets.HTML(f"<b>{html.escape(title)}</b>"),
                widgets.HBox(fields, layout=flow),
                *choosers,
                self.board,
                self.status,
                widgets.HBox(tools, layout=flow),
                _help(controls, lines),
                self._code,
            ]
        )
        self.panel.add_class("cnnvis-explorer")
        self.panel.children[0].add_class("cnnvis-title")
        self.status.add_class("cnnvis-status")

    def on_click(self, act: Callable[[str], None]) -> None:
        """Call a function with "stop", "save" or "copy" when that button is clicked."""
        for name in ("stop", "save", "copy"):
            getattr(self, name).on_click(lambda _, name=name: act(name))

    def set_busy(self, busy: bool) -> None:
        """Show whether something is being computed."""
        self.stop.disabled, self.bar.value = not busy, 0
        self.bar.layout.visibility = "visible" if busy else "hidden"

    def show_progress(self, done: int, total: int) -> None:
        """Show how much is done."""
        self.bar.max, self.bar.value = total, done

    def show_view(self, view: EncodedView) -> None:
        """Show images; the code of earlier ones disappears."""
        self.board.html, self._code.value = view.to_html(), ""

    def show_code(self, code: str) -> None:
        """Show code, and let the browser copy it."""
        self._code.value = describe.code_html(code)
        self.board.copy(code)

    def report(self, text: str, description: str, failed: bool) -> None:
        """Show a line of text.

        Args:
            text: the line.
            description: of the images, for readers who cannot see them.
            failed: whether the line is an error.
        """
        color = "var(--jp-error-color1, #b00020)" if failed else "inherit"
        style = f'role="status" style="color: {color}"'
        self.status.value = f"<span {style}>{html.escape(text)}</span>"
        self.board.label = description


def _button(label: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=label, icon=icon, tooltip=tooltip)


def _help(controls: Mapping[str, Any], lines: Mapping[str, str]) -> widgets.HTML:
    """Give each control its line of help as tooltip; return the list of all of them."""
    labels = {}
    for name, control in controls.items():
        labels[name] = getattr(control, "description", "") or getattr(control, "label", name)
        where = "hint" if isinstance(control, Thumbnails) else "tooltip"
        setattr(control, where, lines.get(name, lines.get("others", "")))
    return widgets.HTML(describe.help_html(lines, labels))
