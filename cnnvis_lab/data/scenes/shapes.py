"""Plane shapes as signed distances in an object's own frame (x right, y down, about [-1, 1]).

An anti-aliased outline, a rounded relief and an exact label mask all follow from one distance
field. Distances only need to be accurate near the outline, so ellipses use a first-order
approximation.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]
Box = tuple[float, float, float, float]


class Shape(NamedTuple):
    """A plane shape.

    Attributes:
        distance: signed distance function, negative inside.
        box: bounding box x0, y0, x1, y1 of the inside.
    """

    distance: Field
    box: Box


def ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Shape:
    """Return an ellipse.

    Args:
        x: horizontal position of the center.
        y: vertical position of the center.
        rx: first radius.
        ry: second radius; None for a disc.
        turn: rotation in radians.
    """
    if ry is None or ry == rx:
        return Shape(lambda u, v: np.hypot(u - x, v - y) - rx, (x - rx, y - rx, x + rx, y + rx))
    cos, sin = np.cos(turn), np.sin(turn)

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a, b = (u - x) * cos + (v - y) * sin, (v - y) * cos - (u - x) * sin
        to_unit = np.hypot(a / rx, b / ry)
        slope = np.hypot(a / (rx * rx), b / (ry * ry))
        return to_unit * (to_unit - 1) / np.maximum(slope, 1e-6)

    half_x, half_y = np.hypot(rx * cos, ry * sin), np.hypot(rx * sin, ry * cos)
    return Shape(distance, (x - half_x, y - half_y, x + half_x, y + half_y))


def ring(x: float, y: float, radius: float, width: float) -> Shape:
    """Return a ring.

    Args:
        x: horizontal position of the center.
        y: vertical position of the center.
        radius: radius of the middle of the line.
        width: full width of the line.
    """
    out = radius + width / 2
    return Shape(
        lambda u, v: np.abs(np.hypot(u - x, v - y) - radius) - width / 2,
        (x - out, y - out, x + out, y + out),
    )


def block(
    x: float, y: float, half_x: float, half_y: float, corner: float = 0.0, turn: float = 0.0
) -> Shape:
    """Return a rectangle with rounded corners.

    Args:
        x: horizontal position of the center.
        y: vertical position of the center.
        half_x: half width.
        half_y: half height.
        corner: radius of the corners.
        turn: rotation in radians.
    """
    cos, sin = np.cos(turn), np.sin(turn)

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        a = np.abs((u - x) * cos + (v - y) * sin) - (half_x - corner)
        b = np.abs((v - y) * cos - (u - x) * sin) - (half_y - corner)
        outside = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
        return outside + np.minimum(np.maximum(a, b), 0) - corner

    wide = abs(half_x * cos) + abs(half_y * sin)
    tall = abs(half_x * sin) + abs(half_y * cos)
    return Shape(distance, (x - wide, y - tall, x + wide, y + tall))


def stroke(x0: float, y0: float, x1: float, y1: float, r0: float, r1: float | None = None) -> Shape:
    """Return a line with round ends.

    Args:
        x0: horizontal position of the start.
        y0: vertical position of the start.
        x1: horizontal position of the end.
        y1: vertical position of the end.
        r0: half width at the start.
        r1: half width at the end; None for the same.
    """
    r1 = r0 if r1 is None else r1
    dx, dy = x1 - x0, y1 - y0
    length2 = dx * dx + dy * dy + 1e-9

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along = np.clip(((u - x0) * dx + (v - y0) * dy) / length2, 0, 1)
        return np.hypot(u - x0 - along * dx, v - y0 - along * dy) - (r0 + along * (r1 - r0))

    r = max(r0, r1)
    return Shape(distance, (min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r))


def polygon(*points: tuple[float, float], corner: float = 0.0) -> Shape:
    """Return a simple polygon through the points, dilated by `corner`."""
    corners = np.asarray(points, dtype=np.float32)
    following = np.roll(corners, -1, axis=0)

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        nearest, inside = np.inf, np.zeros(u.shape, dtype=bool)
        for (ax, ay), (bx, by) in zip(corners, following, strict=True):
            ex, ey, px, py = bx - ax, by - ay, u - ax, v - ay
            along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey + 1e-9), 0, 1)
            qx, qy = px - along * ex, py - along * ey
            nearest = np.minimum(nearest, qx * qx + qy * qy)
            if ay != by:  # even-odd rule: does a ray to the right cross this edge?
                inside ^= ((ay > v) != (by > v)) & (px < ex * py / ey)
        return np.where(inside, -1.0, 1.0).astype(np.float32) * np.sqrt(nearest) - corner

    (x0, y0), (x1, y1) = corners.min(0) - corner, corners.max(0) + corner
    return Shape(distance, (float(x0), float(y0), float(x1), float(y1)))


def union(*shapes: Shape) -> Shape:
    """Return the union of shapes."""
    boxes = np.array([shape.box for shape in shapes])
    return Shape(
        lambda u, v: np.minimum.reduce([shape.distance(u, v) for shape in shapes]),
        (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()),
    )


def cut(shape: Shape, away: Shape) -> Shape:
    """Return the points of `shape` that are not in `away`."""
    return Shape(lambda u, v: np.maximum(shape.distance(u, v), -away.distance(u, v)), shape.box)


def below(height: Callable[[np.ndarray], np.ndarray], top: float, size: float) -> Shape:
    """Return everything below a curve, for backdrops.

    Args:
        height: function from x to the curve's y, in pixels.
        top: upper bound of the curve, in pixels from the top.
        size: size of the image, in pixels.
    """
    return Shape(lambda u, v: height(u) - v, (0.0, top, size, size))
