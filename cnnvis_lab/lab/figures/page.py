"""A figure laid out on one page measured in inches: images, charts, text, lines and arrows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path

from .style import DPI, INK, MUTED, Array, to_numpy

Point = tuple[float, float]
Box = Sequence[float]  # y0, x0, y1, x1 in an image's own pixels


class Page:
    """An empty figure on which positions are inches from the lower left corner.

    Attributes:
        width: in inches.
        height: in inches.
        figure: the figure.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes.

        Args:
            x: left edge, in inches.
            y: lower edge, in inches.
            width: in inches.
            height: in inches.
        """
        corner, size = (x / self.width, y / self.height), (width / self.width, height / self.height)
        return self.figure.add_axes((*corner, *size))

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Write text.

        Args:
            x: in inches.
            y: in inches.
            text: one or more lines.
            **style: as for matplotlib's `Figure.text`.
        """
        self.figure.text(x / self.width, y / self.height, text, **style)

    def image(
        self,
        x: float,
        y: float,
        size: float,
        image: Array,
        *,
        cmap: str = "gray",
        limits: tuple[float, float] | None = (0, 1),
    ) -> Axes:
        """Draw an image in a square whose lower left corner is at x, y.

        Args:
            x: in inches.
            y: in inches.
            size: of the square, in inches.
            image: (3, h, w) or a map (h, w).
            cmap: colors of a map.
            limits: values of a map that get the first and the last color; None for its extremes.
        """
        axes = self.axes(x, y, size, size)
        array = to_numpy(image).astype(np.float32)
        if array.ndim == 3:
            array = np.clip(array, 0, 1).transpose(1, 2, 0)
        # An image with more pixels than its square would alias if some of them were skipped.
        fits = max(array.shape[:2]) <= size * DPI
        vmin, vmax = limits or (None, None)
        axes.imshow(
            array,
            cmap=cmap,
            vmin=vmin,
            vmax=vmax,
            interpolation="nearest" if fits else "antialiased",
        )
        axes.set_axis_off()
        return axes

    def signed_image(self, x: float, y: float, size: float, image: Array) -> Axes:
        """Draw an image as `image` does, a map in red where positive and blue where negative.

        Args:
            x: left edge of the square, in inches.
            y: lower edge of the square, in inches.
            size: of the square, in inches.
            image: (3, h, w) or (1, h, w) in [0, 1], or a map (h, w) of any range.
        """
        array = to_numpy(image)
        if array.ndim == 3:
            return self.image(x, y, size, array)
        largest = max(float(np.abs(array).max()), 1e-12)
        return self.image(x, y, size, array, cmap="RdBu_r", limits=(-largest, largest))

    def line(self, points: Sequence[Point], color: str = INK, **style: Any) -> None:
        """Draw a line.

        Args:
            points: that it passes through, in inches.
            color: of the line.
            **style: as for matplotlib's `Line2D`.
        """
        xs, ys = zip(*points, strict=True)
        self.figure.add_artist(
            Line2D(xs, ys, color=color, transform=self.figure.dpi_scale_trans, **style)
        )

    def arrow(
        self, points: Sequence[Point], color: str = INK, style: str = "-", width: float = 1.2
    ) -> None:
        """Draw a line with an arrowhead at its end.

        Args:
            points: that it passes through, in inches.
            color: of line and head.
            style: of the line, such as "--".
            width: of the line, in points.
        """
        arrow = FancyArrowPatch(
            path=Path(points), arrowstyle="-|>", mutation_scale=9,
            edgecolor=color, facecolor=color, lw=width, ls=style,
            transform=self.figure.dpi_scale_trans,
        )  # fmt: skip
        self.figure.add_artist(arrow)

    def legend(
        self, colors: Mapping[str, str], left: float = 0.1, *, bottom: float = 0, columns: int = 0
    ) -> None:
        """Name colors; draw nothing if there are none.

        Args:
            colors: name -> color.
            left: left edge, in inches.
            bottom: lower edge, in inches.
            columns: number of columns; 0 for all names in one line.
        """
        if not colors:
            return
        keys = [Line2D([], [], color=color, lw=2, label=name) for name, color in colors.items()]
        self.figure.legend(
            handles=keys, ncols=columns or len(keys), borderaxespad=0.2,
            loc="lower left", bbox_to_anchor=(left / self.width, bottom / self.height),
        )  # fmt: skip


def frame_axes(axes: Axes, color: str = MUTED, width: float = 0.8) -> None:
    """Frame an image.

    Args:
        axes: of the image.
        color: of the frame.
        width: of the frame, in points.
    """
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=color, lw=width)


def draw_box(axes: Axes, box: Box, color: str, width: float = 1.4) -> None:
    """Frame a part of an image.

    Args:
        axes: of the image.
        box: y0, x0, y1, x1 in its pixels.
        color: of the frame.
        width: of the frame, in points.
    """
    y0, x0, y1, x1 = (float(edge) for edge in box)
    frame = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, lw=width)
    frame.set(edgecolor=color, clip_on=False)
    axes.add_patch(frame)
