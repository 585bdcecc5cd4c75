"""Texts about a panel: help for its settings, and Python code for what it shows."""

import html
import inspect
import re
from collections.abc import Callable, Mapping

from torch import nn

from ...models import Model, shipped

SETTING = re.compile(r"^ {4}(\w+): (.+?)(?=^ {0,4}\S|\Z)", re.M | re.S)


def settings_help(draw: Callable) -> dict[str, str]:
    """Return setting -> line of help: the arguments that a panel's `draw` documents."""
    arguments = (inspect.getdoc(draw) or "").partition("Args:\n")[2]
    lines = {name: " ".join(line.split()) for name, line in SETTING.findall(arguments)}
    return {name: line[0].upper() + line[1:] for name, line in lines.items() if name != "request"}


def help_html(help_lines: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Return a folded list of settings with their help.

    Args:
        help_lines: setting -> line of help.
        labels: setting -> its label in the panel.
    """
    rows = "".join(
        f"<dt><b>{html.escape(label)}</b></dt><dd>{html.escape(line)}</dd>"
        for name, label in labels.items()
        if (line := help_lines.get(name, help_lines.get("others", "")))
    )
    return f'<details class="cnnvis-more"><summary>Help</summary><dl>{rows}</dl></details>'


def code_html(code: str) -> str:
    """Return code as a block that can be selected; nothing if there is none."""
    block = f"<pre>{html.escape(code)}</pre>"
    return f'<div class="cnnvis-more cnnvis-code">{block}</div>' if code else ""


def model_code(model: nn.Module) -> str:
    """Return the line that loads a network, or a comment that says which one is meant."""
    name = model.card.name if isinstance(model, Model) else type(model).__name__
    if name in shipped() and isinstance(model, Model) and model.card.accuracy is not None:
        return f"model = models.load({name!r})"
    return f"# model: {name}, as given to the panel"
