"""Survey figure F8: an image is encoded, and its code inverted by optimization and a decoder."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from matplotlib.figure import Figure

from ...methods import inversion
from .page import Page, frame_axes
from .style import COLORS, FORMULA, Array, Drawing, figure_style

CELL, GAP, MARGIN, ROW_HEIGHT, HEADER_HEIGHT = 1.15, 0.42, 0.15, 1.98, 0.54  # inches
NETWORK_COLOR, OPTIMIZATION_COLOR, DECODER_COLOR = COLORS[0], COLORS[2], COLORS[1]
ENERGY_FORMULA = "objective\n$C\\,\\frac{\\|f(x)-f_0\\|^2}{\\|f_0\\|^2}$\n$+\\;\\lambda(x)$"


@figure_style()
def walkthrough(stages: inversion.Walkthrough) -> Drawing:
    """Draw survey figure F8: an image is encoded, and its code inverted in two ways.

    Args:
        stages: what `methods.inversion.walkthrough` computed.
    """
    names = ["image x₀", *(layer.removesuffix(".relu") for layer in stages.layers)]
    steps = [
        f"step {step}\nfeature error {error:.2f}"
        for step, error in zip(stages.steps, stages.errors, strict=True)
    ]
    return Drawing(
        _draw_walkthrough(stages, names, steps),
        "An image is encoded, and its code inverted by optimization (above), where each step "
        "follows the negative gradient of the objective, and by a decoder (below). Of each layer "
        "the feature map with the largest norm is shown: red is positive, blue negative.",
        "Three rows of cells joined by arrows: in the middle maps from the image to its code, "
        "above images that develop from noise, below maps of a decoder that end in an image.",
        {"errors": torch.tensor(stages.errors), "found": stages.iterates[-1]},
    )


def _draw_walkthrough(
    stages: inversion.Walkthrough, names: Sequence[str], steps: Sequence[str]
) -> Figure:
    """Draw the three rows of F8; those of the optimization and the decoder from right to left."""
    encoded, descent, decoded = stages.encoder_maps, stages.iterates, stages.decoder_maps
    code = max(len(encoded) - 1, len(descent), len(decoded))  # column of the code
    page = Page(
        2 * MARGIN + (code + 1) * CELL + code * GAP,
        HEADER_HEIGHT + (3 if decoded else 2) * ROW_HEIGHT - 0.5,
    )
    first = page.height - HEADER_HEIGHT - 0.03 - CELL
    top, middle, bottom = (first - row * ROW_HEIGHT for row in range(3))
    title = "by regularizer: an optimization for each image"
    _draw_title(page, page.height - 0.06, title, OPTIMIZATION_COLOR)
    columns = range(len(descent) - 1, -1, -1)
    _draw_row(page, descent, steps, columns, top, OPTIMIZATION_COLOR)
    _draw_energy(page, len(descent), code, top, middle)
    title = "the network: from the image to its code f₀"
    _draw_title(page, middle + CELL + 0.28, title, NETWORK_COLOR)
    columns = [*range(len(encoded) - 1), code]
    _draw_row(page, encoded, names, columns, middle, NETWORK_COLOR)
    if decoded:
        title = "by up-convolution: a decoder, trained once for all images"
        _draw_title(page, bottom + CELL + 0.28, title, DECODER_COLOR)
        columns = range(len(decoded) - 1, -1, -1)
        _draw_row(page, decoded, stages.decoder_stages, columns, bottom, DECODER_COLOR)
        # From the code down to the decoder's first stage.
        x, half = _left(code) + CELL / 2, bottom + CELL / 2
        path = [(x, middle - 0.24), (x, half), (_left(columns[0]) + CELL, half)]
        page.arrow(path, DECODER_COLOR)
        page.text(x + 0.06, half + 0.3, "f₀", va="center", size=10)
    return page.figure


def _left(column: int) -> float:
    """Left edge of a column."""
    return MARGIN + column * (CELL + GAP)


def _draw_title(page: Page, y: float, title: str, color: str) -> None:
    page.text(MARGIN, y, title, color=color, va="top", weight="bold", size=10)


def _draw_row(
    page: Page,
    images: Sequence[Array],
    labels: Sequence[str],
    columns: Sequence[int],
    y: float,
    color: str,
) -> None:
    """Draw framed images at height y, labels under them, and an arrow from each to the next."""
    for image, label, column in zip(images, labels, columns, strict=True):
        frame_axes(page.signed_image(_left(column), y, CELL, image), color, 1.4)
        middle = _left(column) + CELL / 2
        page.text(middle, y - 0.05, label, ha="center", va="top", size=8.5)
    for column, target in pairwise(columns):
        right = target > column
        ends = _left(column) + CELL * right, _left(target) + CELL * (not right)
        page.arrow([(x, y + CELL / 2) for x in ends], color)


def _draw_energy(page: Page, count: int, code: int, y: float, middle: float) -> None:
    """Draw the energy, its two inputs, and its gradient, which changes the image.

    Args:
        page: the page.
        count: images of the optimization.
        code: column of the code.
        y: lower edge of the row of the optimization.
        middle: lower edge of the row of the network.
    """
    left, half, top = _left(code), y + CELL / 2, y + CELL
    center, last = left + CELL / 2, _left(count - 1) + CELL
    square = [(left, top), (left + CELL, top), (left + CELL, y), (left, y), (left, top)]
    page.line(square, OPTIMIZATION_COLOR, lw=1.4)
    page.text(center, half, ENERGY_FORMULA, ha="center", va="center", size=10, gid=FORMULA)
    page.arrow([(left, half), (last, half)], OPTIMIZATION_COLOR)
    page.text((left + last) / 2, half + 0.06, "−∇ₓ", ha="center", va="bottom", size=10)
    page.arrow([(center, middle + CELL), (center, y)], NETWORK_COLOR)
    page.text(center + 0.06, y - 0.2, "f₀", va="center", size=10)
    above = top + 0.12
    for column in range(count):
        x = _left(column) + CELL / 2
        page.line([(x, top), (x, above)], NETWORK_COLOR, lw=1.1, ls="--")
    page.arrow([(_left(0) + CELL / 2, above), (center, above), (center, top)], NETWORK_COLOR, "--")
    label = "f(x), by the same network"
    page.text(left + CELL, above + 0.05, label, ha="right", va="bottom", size=8.5)
