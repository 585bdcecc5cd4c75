"""Thumbnails to choose from, by click or arrow keys; files can be dropped on them."""

from collections.abc import Callable, Sequence
from io import BytesIO
from math import ceil, sqrt

import anywidget
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from traitlets import Any, Bool, Bytes, Int, List, TraitError, Unicode, observe, validate

from ...core import Float
from .board import STATIC

SIZE = 46  # of a thumbnail, in pixels
LARGE_COUNT = 1024  # more thumbnails than these are stored at a quarter of their size


class Thumbnails(anywidget.AnyWidget):
    """A choice of one value, and perhaps a second one, by thumbnails.

    Attributes:
        label: what is chosen.
        note: what the thumbnails show.
        options: the values.
        titles: description of each option; its text where there is none.
        value: the chosen option.
        second: another chosen option, or None.
        pairs: whether a second one can be chosen.
        files: whether files can be dropped.
        sprite: the thumbnails in rows, as one image file.
        columns: thumbnails in a row of the sprite.
        drawn: number of thumbnails in the sprite.
        rows: rows on a page.
        size: of a thumbnail, in pixels.
        disabled: whether nothing can be chosen.
        hint: a line of help.
    """

    _esm = STATIC / "thumbnails.js"
    _css = STATIC / "panel.css"
    label = Unicode().tag(sync=True)
    note = Unicode().tag(sync=True)
    options = List(Any()).tag(sync=True)
    titles = List(Unicode()).tag(sync=True)
    value = Any().tag(sync=True)
    second = Any(None, allow_none=True).tag(sync=True)
    pairs = Bool(False).tag(sync=True)
    files = Bool(False).tag(sync=True)
    sprite = Bytes(b"").tag(sync=True)
    columns = Int(1).tag(sync=True)
    drawn = Int(0).tag(sync=True)
    rows = Int(1).tag(sync=True)
    size = Int(SIZE).tag(sync=True)
    disabled = Bool(False).tag(sync=True)
    hint = Unicode().tag(sync=True)

    @validate("value")
    def _check_value(self, proposal: dict) -> object:
        if self.options and proposal["value"] not in self.options:
            raise TraitError(f"{proposal['value']!r} is none of the options")
        return proposal["value"]

    @observe("options")
    def _keep_valid(self, change: dict) -> None:
        if self.options and self.value not in self.options:
            self.value = self.options[0]
        if self.second is not None and self.second not in self.options:
            self.second = None

    def on_file(self, receive: Callable[[str, bytes], None]) -> None:
        """Call a function with name and bytes of each file that is dropped or chosen."""

        def on_message(_: object, content: dict, buffers: Sequence) -> None:
            if "file" in content:
                receive(str(content["file"]), bytes(buffers[0]))

        self.on_msg(on_message)

    def show(
        self, tiles: Float[Tensor, "n 3 s s"], titles: Sequence[str] = (), note: str = ""
    ) -> None:
        """Show thumbnails from `square`.

        Args:
            tiles: one for each of the first options.
            titles: description of each option.
            note: what the thumbnails show.
        """
        columns = max(1, ceil(sqrt(len(tiles))))
        with self.hold_sync():
            self.titles, self.note = list(titles), note
            self.columns, self.drawn = columns, len(tiles)
            self.sprite = _sprite(tiles, columns)


def square(shown: Float[Tensor, "n c h w"], total: int = 0) -> Float[Tensor, "n 3 s s"]:
    """Return the central squares of images or maps in [0, 1] at the size of thumbnails.

    Args:
        shown: images or maps.
        total: number of thumbnails in all, if these are some of them.
    """
    height, width = shown.shape[-2:]
    large = max(total, len(shown)) > LARGE_COUNT
    side, size = min(height, width), SIZE // 4 if large else SIZE
    top, left = (height - side) // 2, (width - side) // 2
    central = shown[..., top : top + side, left : left + side].float()
    smooth = side >= size
    mode = "bilinear" if smooth else "nearest"
    small = functional.interpolate(central, (size, size), mode=mode, antialias=smooth)
    if small.shape[1] != 3:
        small = small.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return small.clamp(0, 1)


def _sprite(tiles: Float[Tensor, "n 3 s s"], columns: int) -> bytes:
    size, rows = tiles.shape[-1], -(-len(tiles) // columns)
    filled = torch.zeros(rows * columns, 3, size, size)
    filled[: len(tiles)] = tiles
    page = filled.view(rows, columns, 3, size, size).permute(0, 3, 1, 4, 2)
    pixels = (page.reshape(rows * size, columns * size, 3) * 255).round().byte().numpy()
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
