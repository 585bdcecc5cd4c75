"""Survey figure F4: the feature maps of a network beside the signals of its backward pass."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from matplotlib.figure import Figure
from torch import Tensor, nn

from .images import normalize_projections
from .page import Page, frame_axes
from .style import COLORS, figure_style

CELL, GAP, LABEL, MIDDLE = 1.15, 0.46, 1.25, 1.5  # inches


@runtime_checkable
class Stage(Protocol):
    """One block of a network in both passes, such as `methods.deconvnet.Stage`."""

    @property
    def layer(self) -> str:
        """Its dotted name."""

    @property
    def module(self) -> nn.Module:
        """The block."""

    @property
    def output(self) -> Tensor:
        """What it returns in the forward pass, without the batch dimension."""

    @property
    def signal(self) -> Tensor:
        """The backward pass at its output."""

    @property
    def channel(self) -> int:
        """The map that is shown."""


@figure_style()
def projection_trace(
    image: Tensor, projection: Tensor, stages: Sequence[Stage], *, turn: str = ""
) -> Figure:
    """Draw a network's maps from the image up, and beside them its signals down to the pixels.

    Maps and signals are red where positive, blue where negative, white at zero.

    Args:
        image: (3, h, w) in [0, 1].
        projection: (3, h, w) the backward pass at the pixels, of both signs.
        stages: from the image up.
        turn: what happens to the topmost map before the backward pass.
    """
    forward = [image, *(_select_map(stage.output, stage.channel) for stage in stages)]
    signals = [_select_map(stage.signal, stage.channel) for stage in stages]
    signals = [normalize_projections(projection[None])[0], *signals]
    names = ["picture", *map(_stage_name, stages)]
    height = len(forward) * (CELL + GAP) + 0.45
    page = Page(2 * (LABEL + CELL) + MIDDLE, height)
    left, right = LABEL, LABEL + CELL + MIDDLE
    bottoms = [0.12 + level * (CELL + GAP) for level in range(len(names))]
    for y, name, signal, maps in zip(bottoms, names, signals, forward, strict=True):
        frame_axes(page.signed_image(left, y, CELL, signal))
        frame_axes(page.signed_image(right, y, CELL, maps))
        page.text(page.width / 2, y + CELL / 2, name, ha="center", va="center", size=8.5)
    left, right = left + CELL / 2, right + CELL / 2
    for y, stage in zip(bottoms[:-1], stages, strict=True):
        _draw_step(page, y + CELL, left, right, stage.module)
    top = bottoms[-1] + CELL
    page.arrow([(right, top + 0.04), (right, top + 0.16), (left, top + 0.16), (left, top + 0.02)])
    page.text((left + right) / 2, top + 0.2, turn, ha="center", va="bottom", size=8)
    for x, label in ((left, "back"), (right, "forward")):
        page.text(x, height - 0.12, label, ha="center", va="top", weight="bold")
    return page.figure


def _select_map(maps: Tensor, channel: int) -> Tensor:
    return maps[channel] if maps.ndim > 1 else maps[None]


def _stage_name(stage: Stage) -> str:
    """A layer's name and the shape of its output."""
    count, *size = stage.output.shape
    if not size:
        return f"{stage.layer}\n{count} units"
    return f"{stage.layer}\n{count} maps of\n{'x'.join(map(str, size))}"


def _draw_step(page: Page, bottom: float, left: float, right: float, module: nn.Module) -> None:
    """Draw arrows from a level to the next in the forward pass, and back, with their names."""
    lower, upper, middle = bottom + 0.04, bottom + GAP - 0.04, bottom + GAP / 2
    up, down = _step_names(module)
    page.arrow([(right, lower), (right, upper)])
    page.text(right + 0.12, middle, up, ha="left", va="center", size=8)
    page.arrow([(left, upper), (left, lower)])
    page.text(left - 0.12, middle, down, ha="right", va="center", size=8)
    if isinstance(module, nn.MaxPool2d):
        page.arrow([(right - 0.06, middle), (left + 0.06, middle)], COLORS[1], "--", 1.1)
        style = {"ha": "center", "size": 8, "color": COLORS[1]}
        page.text((left + right) / 2, middle + 0.04, "switches", **style)


def _step_names(module: nn.Module) -> tuple[str, str]:
    """What a module does in the forward and in the backward pass."""
    if isinstance(module, nn.ReLU):
        return "rectify", "rectify"
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d):
        kind = type(module).__name__
        return kind, f"{kind},\nreversed"
    kernel, stride = (
        size if isinstance(size, int) else size[0] for size in (module.kernel_size, module.stride)
    )
    window = f"{kernel}x{kernel}, stride {stride}"
    if isinstance(module, nn.Conv2d):
        return f"filter\n{window}", "filter,\ntransposed"
    return f"max-pool\n{window}", "unpool"
