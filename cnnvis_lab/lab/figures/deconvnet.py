"""Survey figure F4: the feature maps of a network beside the signals of its backward pass."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from .images import normalize_projections
from .page import Page, frame_axes
from .style import COLORS, Array, figure_style, to_numpy

CELL, GAP, LABEL, MIDDLE = 1.15, 0.46, 1.25, 1.5  # inches


@figure_style()
def projection_trace(
    forward: Sequence[Array],
    backward: Sequence[Array],
    *,
    names: Sequence[str],
    steps: Sequence[str],
    back_steps: Sequence[str],
    switches: Sequence[int] = (),
    turn: str = "",
) -> Figure:
    """Draw a network's maps from the image up, and beside them its signals down to the pixels.

    Args:
        forward: the image (3, h, w) in [0, 1], then a map (h, w) after each step, of any range:
            red where positive, blue where negative, white at zero.
        backward: the signals of the backward pass at the same positions, in the same order; at
            the image (3, h, w), of both signs.
        names: of the positions, written between the two columns.
        steps: what leads from each position to the next in the forward pass.
        back_steps: the corresponding steps of the backward pass.
        switches: indices of the steps whose pooling switches the backward pass uses.
        turn: what happens to the topmost map before the backward pass.
    """
    height = len(forward) * (CELL + GAP) + 0.45
    page = Page(2 * (LABEL + CELL) + MIDDLE, height)
    left, right = LABEL, LABEL + CELL + MIDDLE
    signals = [normalize_projections(to_numpy(backward[0])[None])[0], *backward[1:]]
    tops = [height - 0.12 - CELL - level * (CELL + GAP) for level in range(len(names))]
    for top, name, signal, maps in zip(tops, names, signals, forward, strict=True):
        for x, image in ((left, signal), (right, maps)):
            frame_axes(page.signed_image(x, top, CELL, image))
        page.text(page.width / 2, top + CELL / 2, name, ha="center", va="center", size=8.5)
    left, right = left + CELL / 2, right + CELL / 2
    for level, (up, down) in enumerate(zip(steps, back_steps, strict=True)):
        lower, upper, middle = tops[level] - 0.04, tops[level] - GAP + 0.04, tops[level] - GAP / 2
        page.arrow([(right, lower), (right, upper)])
        page.text(right + 0.12, middle, up, ha="left", va="center", size=8)
        page.arrow([(left, upper), (left, lower)])
        page.text(left - 0.12, middle, down, ha="right", va="center", size=8)
        if level in switches:
            page.arrow([(right - 0.06, middle), (left + 0.06, middle)], COLORS[1], "--", 1.1)
            label = {"ha": "center", "size": 8, "color": COLORS[1]}
            page.text((left + right) / 2, middle - 0.04, "switches", **label)
    top = tops[-1]
    page.arrow([(right, top - 0.04), (right, top - 0.16), (left, top - 0.16), (left, top - 0.02)])
    page.text((left + right) / 2, top - 0.2, turn, ha="center", va="bottom", size=8)
    for x, label in ((left, "back"), (right, "forward")):
        page.text(x, 0.12, label, ha="center", va="top", weight="bold")
    return page.figure
