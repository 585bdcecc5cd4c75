"""The widgets of a panel around its controls: buttons, the board of images, the line below it."""

import html
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from .board import Board, EncodedView
from .networks import NetworkFields
from .thumbnails import Thumbnails

SAVE = "Save the view as PNG, with its settings and code as texts of the file"
COPY = "Show and copy the Python code that computes what the panel shows"
STOP = "End the computation with its intermediate result"
SETTING = re.compile(r"^ {4}(\w+): (.+?)(?=^ {0,4}\S|\Z)", re.M | re.S)


class Frame:
    """The panel of an explorer.

    Args:
        title: heading of the panel.
        subject: what it is about, in small letters beside the heading.
        controls: name -> control; thumbnails are placed below the others.
        lines: name -> line of help of the control.
        act: called with "stop", "save" or "copy" when that button is clicked.
        slow: whether there is a bar and a button to stop.
        network: the fields for another network, if it can be shown.

    Attributes:
        panel: the whole widget.
        board: the images.
        status: the line below them.
        bar: the progress.
        stop: the button that ends a request.
    """

    def __init__(
        self,
        title: str,
        subject: str,
        controls: Mapping[str, Any],
        lines: Mapping[str, str],
        act: Callable[[str], None],
        *,
        slow: bool,
        network: NetworkFields | None,
    ) -> None:
        self.board, self.status, self._code = Board(), widgets.HTML(), widgets.HTML()
        self.bar = widgets.IntProgress(max=1)
        self.bar.layout.visibility, self.bar.layout.width = "hidden", "90px"
        self.stop = _button("Stop", "stop", STOP, act)
        self.stop.disabled = True
        tools = [self.stop] if slow else []
        tools += [_button("Save PNG", "download", SAVE, act)]
        tools += [_button("Copy as code", "copy", COPY, act)]
        tools += [network.toggle] if network else []
        tools += [self.bar] * slow
        choosers = [c for c in controls.values() if isinstance(c, Thumbnails)]
        plain = [c for c in controls.values() if c not in choosers]
        rows = [
            widgets.HTML(f"<b>{html.escape(title)}</b> <small>{html.escape(subject)}</small>"),
            _flow(plain),
            *choosers,
            self.board,
            self.status,
            _flow(tools),
            *([network.row] if network else []),
            _help(controls, lines),
            self._code,
        ]
        labelled = [*plain, *(network.texts if network else [])]
        self.board.tips = {control.description: control.tooltip for control in labelled}
        self.panel = widgets.VBox(rows)
        self.panel.add_class("cnnvis-explorer")
        rows[0].add_class("cnnvis-title")
        self.status.add_class("cnnvis-status")

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
        block = f"<pre>{html.escape(code)}</pre>"
        self._code.value = f'<div class="cnnvis-more cnnvis-code">{block}</div>'
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


def _button(label: str, icon: str, tooltip: str, act: Callable[[str], None]) -> widgets.Button:
    made = widgets.Button(description=label, icon=icon, tooltip=tooltip)
    made.on_click(lambda _: act(label.split()[0].lower()))
    return made


def _flow(items: list) -> widgets.HBox:
    return widgets.HBox(items, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))


def _help(controls: Mapping[str, Any], lines: Mapping[str, str]) -> widgets.HTML:
    """Give each control its line of help as tooltip; return the list of all of them."""
    rows = ""
    for name, control in controls.items():
        line = lines.get(name, lines.get("others", ""))  # of the parameters that have no name
        is_grid = isinstance(control, Thumbnails)
        setattr(control, "hint" if is_grid else "tooltip", line)
        label = name if is_grid else control.description
        rows += f"<dt><b>{html.escape(label)}</b></dt><dd>{html.escape(line)}</dd>" if line else ""
    return widgets.HTML(
        f'<details class="cnnvis-more"><summary>Help</summary><dl>{rows}</dl></details>'
    )


def settings_help(draw: Callable) -> dict[str, str]:
    """Return setting -> line of help: the arguments that a panel's `draw` documents."""
    arguments = (inspect.getdoc(draw) or "").partition("Args:\n")[2]
    lines = {name: " ".join(line.split()) for name, line in SETTING.findall(arguments)}
    return {name: line[0].upper() + line[1:] for name, line in lines.items() if name != "request"}
